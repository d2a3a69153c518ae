"""`steadydecay train`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from steadydecay.commands.dry_run import DryRun
from steadydecay.commands.given_path import GivenPath
from steadydecay.commands.what import What
from steadydecay.recipes.optimizers import OPTIMIZERS
from steadydecay.recipes.strategy import Strategy
from steadydecay.recipes.train import train


@dataclass
class Train(DryRun, What):
    """Train one model, or resume from its last checkpoint. Under torchrun, all processes train it together."""

    optimizer: Annotated[str, tyro.conf.arg(help=f"The optimizer to use: one of {', '.join(OPTIMIZERS)}.")] = "scionc"
    seed: int = 0
    """The seed of the weights and of the order of the data."""
    strategy: Strategy = "ddp"
    """Under torchrun, replicate the model on each process (ddp) or shard it over them (fsdp). See
    docs/many_gpus.md."""
    out: GivenPath = Path("runs/train")
    """The folder for the log and the checkpoints."""

    def run(self) -> None:
        self.require_dry()
        recipe = self.recipe_of(self.optimizer, self.seed)
        if self.dry_run:
            self.print_run(recipe, self.out, self.strategy)
        else:
            train(recipe, self.out, restart=self.restart, strategy=self.strategy)
