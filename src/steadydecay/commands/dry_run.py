"""What `--dry-run` of `train` and `compare` prints, and its options."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from steadydecay.budgeting.budget_table import (
    AssumedGPU,
    comparable_hours,
    comparison_table,
    devices_table,
    run_table,
)
from steadydecay.budgeting.measured_pace import MeasuredPace, measured_paces
from steadydecay.budgeting.recipe_budget import recipe_budget
from steadydecay.budgeting.run_budget import RunBudget
from steadydecay.recipes.recipe import Recipe
from steadydecay.recipes.strategy import Strategy
from steadydecay.recipes.workers import is_first_process
from steadydecay.theory.validation import require_in

# On a narrower terminal, the tables' lines would wrap.
NARROWEST = 120
# The vendor's figure for an H100 with matrices in bfloat16, and a share of it that well-tuned training reaches.
H100_FLOPS, USUAL_UTILISATION = 989e12, 0.4
RESULTS = Path("benchmarks/results")


@dataclass
class DryRun:
    """The options of a budget."""

    dry_run: bool = False
    """Print what training would take (FLOPs, memory and hours) without training or writing any file."""
    gpus: list[int] = field(default_factory=list)
    """With --dry-run, the numbers of GPUs to estimate for, such as --gpus 1 8. The default is 1 and 8."""
    flops: float = H100_FLOPS
    """With --dry-run, the peak FLOP/s of one GPU, from which the time is estimated if there is no measurement."""
    utilisation: float = USUAL_UTILISATION
    """With --dry-run, the share of --flops that training reaches."""

    def require_dry(self) -> None:
        """Raise ValueError if an option of the budget is given without --dry-run."""
        if (given := self._given()) and not self.dry_run:
            raise ValueError(
                f"--{given[0]} is given without --dry-run, and works only with it; add --dry-run or leave it out"
            )

    def _given(self) -> list[str]:
        usual = DryRun()
        return [name for name in ("gpus", "flops", "utilisation") if getattr(self, name) != getattr(usual, name)]

    def assumed_gpu(self) -> AssumedGPU:
        require_in("flops", self.flops, 0, remedy="it is the FLOP/s that one GPU could reach, such as 989e12")
        if not 0 < self.utilisation <= 1:
            raise ValueError(
                f"utilisation is {self.utilisation}; it must be in (0, 1]: the share of --flops, such as 0.4"
            )
        return AssumedGPU(self.flops, self.utilisation)

    def print_run(self, recipe: Recipe, folder: Path, strategy: Strategy) -> None:
        """Print the budget of one run in detail."""
        gpu = self.assumed_gpu()
        budget = recipe_budget(recipe, self.gpus or None, strategy)
        paces = _paces_of(recipe, budget, folder)
        _print([budget.label, run_table(budget), "", devices_table(budget, gpu, paces), "", *budget.notes])

    def print_comparison(self, recipes: Sequence[Recipe], folders: Sequence[Path]) -> None:
        """Print a line for each run, and the total."""
        gpu = self.assumed_gpu()
        budgets = [recipe_budget(recipe, self.gpus or None) for recipe in recipes]
        paces = [_paces_of(*of_run) for of_run in zip(recipes, budgets, folders, strict=True)]
        if "flops" in self._given() or "utilisation" in self._given():
            # A user who states the speed of a GPU wants to know about that GPU.
            paces = [[] for _ in recipes]
        hours, source = comparable_hours(budgets, gpu, paces)
        explained = (
            "The optimizer's column is its share of the FLOPs. Memory is that of the busiest GPU, including an "
            "estimate "
            f"of the activations. The time is {source}."
        )
        _print([comparison_table(budgets, hours), "", explained, *dict.fromkeys(sum((b.notes for b in budgets), ()))])


def _paces_of(recipe: Recipe, budget: RunBudget, folder: Path) -> list[MeasuredPace]:
    return measured_paces(recipe, sum(budget.parameters.values()), folder, RESULTS)


def _print(parts: Sequence[object]) -> None:
    if not is_first_process():
        return
    console = Console(width=max(Console().width, NARROWEST))
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, str), highlight=False, markup=False)
