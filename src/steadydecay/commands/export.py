"""`steadydecay export`."""

from dataclasses import dataclass

import tyro
from rich.console import Console

from steadydecay.commands.given_path import GivenPath
from steadydecay.recipes.safetensors_export import export_weights


@dataclass
class Export:
    """Write the weights of a run's newest checkpoint into one .safetensors file."""

    run_folder: tyro.conf.Positional[GivenPath]
    """The folder of the run to export."""
    out: tyro.conf.Positional[GivenPath]
    """The .safetensors file to write."""

    def run(self) -> None:
        step = export_weights(self.run_folder, self.out)
        Console().print(f"Wrote the weights of step {step:,} to {self.out}.", soft_wrap=True, highlight=False)
