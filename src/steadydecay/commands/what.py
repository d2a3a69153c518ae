"""What `train` and `compare` have in common: the recipe, as a command line gives it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from steadydecay.recipes.gpt.recipe import GPTRecipe, gpt_recipe
from steadydecay.recipes.optimizers import require_optimizer
from steadydecay.recipes.recipe import parsed_overrides


@dataclass
class What:
    """What to train."""

    recipe: tyro.conf.Positional[Literal["gpt"]]
    """Which model and data."""
    overrides: tyro.conf.Positional[tuple[str, ...]] = ()
    """Fields of the recipe as name=value: lr=0.03 layers=4."""
    size: str = "mini"
    """mini (two CPU cores), small, or 124m (the paper's)."""
    data: Path | None = None
    """Text file or folder, .bin token shard or folder of them; by default the standard library's own text."""
    steps: int | None = None
    """Optimizer steps; by default the size's."""
    restart: bool = False
    """Begin anew where an earlier run left checkpoints."""

    def recipe_of(self, optimizer: str, seed: int) -> GPTRecipe:
        require_optimizer(optimizer)
        given: dict[str, Any] = {"seed": seed}
        given |= {"data": str(self.data)} if self.data is not None else {}
        given |= {"steps": self.steps} if self.steps is not None else {}
        return gpt_recipe(self.size, optimizer, given | parsed_overrides(GPTRecipe, self.overrides))
