"""The recipe options that `train`, `compare` and `sweep` share."""

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
    """The model and data to train."""
    overrides: tyro.conf.Positional[tuple[str, ...]] = ()
    """Fields of the recipe to change, written as name=value, such as lr=0.03 layers=4."""
    size: str | None = None
    """The size of the model. For gpt it is mini (for two CPU cores; the default), small, or 124m (the paper's). For vit
    it is digits (for two CPU cores and any small images; the default), mini, or s16 (the paper's)."""
    data: str | None = None
    """The data to train on. For gpt, give a text file or folder, a .bin token shard, or a folder of shards; the default
    is the standard library's own text. For vit, give an .npz file, a .parquet file or a folder of them, or a folder
    with one folder of images per class; the default is scikit-learn's digits."""
    steps: int | None = None
    """The number of optimizer steps. The default depends on the size."""
    restart: bool = False
    """Start again from the beginning, even if an earlier run left checkpoints."""

    @property
    def kind(self) -> type[Recipe]:
        return RECIPES[self.recipe]

    def recipe_of(self, optimizer: str, seed: int) -> Recipe:
        kind = self.kind
        size = next(iter(kind.SIZES)) if self.size is None else self.size
        given: dict[str, Any] = {"seed": seed}
        # A slash at its end makes no difference. "" is kept, because Path would turn it into the current folder.
        given |= {"data": self.data and str(Path(self.data))} if self.data is not None else {}
        given |= {"steps": self.steps} if self.steps is not None else {}
        return recipe_for(kind, size, optimizer, given | parsed_overrides(kind, self.overrides))
