"""`steadydecay train`."""

from dataclasses import dataclass
from pathlib import Path

from steadydecay.commands.what import What
from steadydecay.recipes.train import train


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
