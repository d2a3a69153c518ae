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
    """Which model and data."""
    overrides: tyro.conf.Positional[tuple[str, ...]] = ()
    """Fields of the recipe as name=value: lr=0.03 layers=4."""
    size: str | None = None
    """gpt: mini (two CPU cores; the default), small, or 124m (the paper's). vit: digits (two CPU cores, any small
    images; the default), mini, or s16 (the paper's)."""
    data: str | None = None
    """gpt: text file or folder, .bin token shard or folder of them; by default the standard library's own text. vit:
    .npz, .parquet file or folder of them, folder with one of images per class; by default scikit-learn's digits."""
    steps: int | None = None
    """Optimizer steps; by default the size's."""
    restart: bool = False
    """Begin anew where an earlier run left checkpoints."""

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
