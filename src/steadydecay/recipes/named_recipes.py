"""The recipes that the command line knows by name."""

from steadydecay.recipes.gpt.recipe import GPTRecipe
from steadydecay.recipes.recipe import Recipe
from steadydecay.recipes.vit.recipe import ViTRecipe

RECIPES: dict[str, type[Recipe]] = {"gpt": GPTRecipe, "vit": ViTRecipe}
