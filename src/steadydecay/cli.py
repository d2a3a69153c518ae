"""The command `steadydecay`: typed dataclasses, one for each subcommand."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console

from steadydecay.experiments.compare import compare
from steadydecay.recipes.checkpoint import CheckpointError
from steadydecay.recipes.divergence import NonFiniteError
from steadydecay.recipes.gpt.recipe import GPTRecipe, gpt_recipe
from steadydecay.recipes.optimizers import require_optimizer
from steadydecay.recipes.recipe import parsed_overrides
from steadydecay.recipes.train import train
from steadydecay.report.page import write_report
from steadydecay.report.picture import write_picture
from steadydecay.report.table import summary_table

# What a person can put right; everything else is our fault and shows its traceback.
USER_ERRORS = (ValueError, OSError, NonFiniteError, CheckpointError)


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


@dataclass
class Train(What):
    """Train one model, or go on with it. Under torchrun: on all its processes."""

    optimizer: str = "scionc"
    """adamw, scion or scionc."""
    seed: int = 0
    """Of the weights and of the order of the data."""
    out: Path = Path("runs/train")
    """Folder for the log and the checkpoints."""

    def run(self) -> None:
        train(self.recipe_of(self.optimizer, self.seed), self.out, restart=self.restart)


@dataclass
class Compare(What):
    """Train the same model under several optimizers; print the table, write summary.json, report.html, picture.png."""

    optimizers: str = "adamw,scion,scionc"
    """Names, separated by commas."""
    seed: list[int] = field(default_factory=lambda: [0])
    """One or more seeds: --seed 0 1 2."""
    out: Path = Path("runs/compare")
    """Folder for everything that is written."""

    def run(self) -> None:
        recipes = [self.recipe_of(name, seed) for name in self.optimizers.split(",") for seed in self.seed]
        summaries = compare(recipes, self.out, restart=self.restart)
        write_picture(self.out, self.out / "picture.png")
        report = write_report(self.out, self.out / "report.html")
        console = Console()
        # A table of many optimizers is wider than a narrow terminal; a number cut short would be worse.
        console.print(summary_table(summaries), width=max(console.width, 90), crop=False)
        console.print(f"report: {report}", soft_wrap=True, highlight=False)


Command = (
    Annotated[Train, tyro.conf.subcommand("train", prefix_name=False)]
    | Annotated[Compare, tyro.conf.subcommand("compare", prefix_name=False)]
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line; exit with 2 and one message on what a person can put right."""
    command = tyro.cli(Command, args=arguments, prog="steadydecay", description="Steady weight norms in training.")
    try:
        command.run()
    except USER_ERRORS as error:
        console = Console(stderr=True, style="bold red")
        console.print(f"steadydecay: {error}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)


# For torchrun: python -m torch.distributed.run ... -m steadydecay.cli train gpt
if __name__ == "__main__":
    main()
