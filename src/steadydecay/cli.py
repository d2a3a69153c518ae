"""The command `steadydecay`: parse, run, and one message on what a person can put right."""

import sys
from collections.abc import Sequence
from typing import Annotated

import tyro
from rich.console import Console

from steadydecay.commands.bench import Bench
from steadydecay.commands.compare import Compare
from steadydecay.commands.explore import Explore
from steadydecay.commands.forecast import Forecast
from steadydecay.commands.inspect import Inspect
from steadydecay.commands.report import Report
from steadydecay.commands.reproduce import Reproduce
from steadydecay.commands.train import Train
from steadydecay.recipes.checkpoint import CheckpointError
from steadydecay.recipes.divergence import NonFiniteError

# What a person can put right; everything else is our fault and shows its traceback.
USER_ERRORS = (ValueError, OSError, NonFiniteError, CheckpointError)

Command = (
    Annotated[Train, tyro.conf.subcommand("train", prefix_name=False)]
    | Annotated[Compare, tyro.conf.subcommand("compare", prefix_name=False)]
    | Annotated[Report, tyro.conf.subcommand("report", prefix_name=False)]
    | Annotated[Reproduce, tyro.conf.subcommand("reproduce", prefix_name=False)]
    | Annotated[Explore, tyro.conf.subcommand("explore", prefix_name=False)]
    | Annotated[Forecast, tyro.conf.subcommand("forecast", prefix_name=False)]
    | Annotated[Bench, tyro.conf.subcommand("bench", prefix_name=False)]
    | Annotated[Inspect, tyro.conf.subcommand("inspect", prefix_name=False)]
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
