"""The recipes that the command line calls by a name."""

from steadydecay.recipes.gpt.recipe import GPTRecipe
from steadydecay.recipes.recipe import Recipe

RECIPES: dict[str, type[Recipe]] = {"gpt": GPTRecipe}
