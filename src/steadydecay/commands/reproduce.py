"""`steadydecay reproduce`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro
from rich.console import Console

from steadydecay.commands.given_path import GivenPath
from steadydecay.experiments.fig7 import fig7
from steadydecay.experiments.outcome import Outcome
from steadydecay.experiments.seed003 import seed003

Experiment = Callable[[Path, int | None], Outcome]
EXPERIMENTS: dict[str, Experiment] = {"fig7": fig7, "seed003": seed003}

if TYPE_CHECKING:
    ExperimentName = str
else:
    ExperimentName = tyro.extras.literal_type_from_choices(EXPERIMENTS)


@dataclass
class Reproduce:
    """One experiment: its claim, the measured numbers, whether they bear it out, and a picture."""

    name: tyro.conf.Positional[ExperimentName]
    """fig7: a random walk under a cosine lr. seed003: AdamW against Adam-L2 on text with rare words."""
    out: GivenPath = Path("runs/reproduce")
    """Folder for the picture."""
    steps: int | None = None
    """Of each run; by default the experiment's."""

    def run(self) -> None:
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps is {self.steps}; legal is [1, inf)")
        self.out.mkdir(parents=True, exist_ok=True)
        finding = EXPERIMENTS[self.name](self.out, self.steps)
        # Wider than a narrow terminal: a number cut short would be worse.
        Console(width=max(Console().width, 100)).print(finding.shown(), highlight=False)
