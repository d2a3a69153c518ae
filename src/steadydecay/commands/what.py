"""What `train` and `compare` have in common: the recipe, as a command line gives it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from steadydecay.recipes.derivation import recipe_for
from steadydecay.recipes.named_recipes import RECIPES
from steadydecay.recipes.overrides import parsed_overrides
from steadydecay.recipes.recipe import Recipe

if TYPE_CHECKING:
    RecipeName = str
else:
    RecipeName = tyro.extras.literal_type_from_choices(RECIPES)


@dataclass
class What:
    """What to train."""

    recipe: tyro.conf.Positional[RecipeName]
    """The kind of model to train."""
    overrides: tyro.conf.Positional[tuple[str, ...]] = ()
    """Fields of the recipe to change, as name=value, such as lr=0.03 layers=4."""
    size: str | None = None
    """Size of the model. For gpt: mini (the default, for two CPU cores), small, or 124m (the paper's). For vit: digits
    (the default, for two CPU cores and any small images), mini, or s16 (the paper's)."""
    data: str | None = None
    """Training data. For gpt: a text file, a folder of text files, a .bin token shard, or a folder of shards; the
    default is the text of Python's standard library. For vit: an .npz file, a .parquet file or a folder of them, or a
    folder with one folder of images for each class; the default is scikit-learn's digits."""
    steps: int | None = None
    """Number of optimizer steps. The default depends on the size."""
    restart: bool = False
    """Start over even if an earlier run left checkpoints. Its log and checkpoints are deleted."""

    @property
    def kind(self) -> type[Recipe]:
        return RECIPES[self.recipe]

    def recipe_of(self, optimizer: str, seed: int) -> Recipe:
        kind = self.kind
        size = next(iter(kind.SIZES)) if self.size is None else self.size
        given: dict[str, Any] = {"seed": seed}
        # With a slash at its end or without it is one place. "" stays: Path would make the current folder of it.
        given |= {"data": self.data and str(Path(self.data))} if self.data is not None else {}
        given |= {"steps": self.steps} if self.steps is not None else {}
        return recipe_for(kind, size, optimizer, given | parsed_overrides(kind, self.overrides))
