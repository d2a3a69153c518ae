"""All subcommands as one command line, and the errors that a person can put right."""

from typing import Annotated

import tyro

from steadydecay.commands.bench import Bench
from steadydecay.commands.compare import Compare
from steadydecay.commands.explore import Explore
from steadydecay.commands.export import Export
from steadydecay.commands.forecast import Forecast
from steadydecay.commands.inspect import Inspect
from steadydecay.commands.prepare import Prepare
from steadydecay.commands.report import Report
from steadydecay.commands.reproduce import Reproduce
from steadydecay.commands.sweep import Sweep
from steadydecay.commands.train import Train
from steadydecay.recipes.checkpoint import CheckpointError
from steadydecay.recipes.divergence import NonFiniteError
from steadydecay.run_log.folder_lock import FolderInUseError
from steadydecay.sweeps.run_sweep import FailedTrialsError

# Everything else is our fault and shows its traceback.
USER_ERRORS = (ValueError, OSError, NonFiniteError, CheckpointError, FolderInUseError, FailedTrialsError)

Command = (
    Annotated[Train, tyro.conf.subcommand("train", prefix_name=False)]
    | Annotated[Compare, tyro.conf.subcommand("compare", prefix_name=False)]
    | Annotated[Prepare, tyro.conf.subcommand("prepare", prefix_name=False)]
    | Annotated[Sweep, tyro.conf.subcommand("sweep", prefix_name=False)]
    | Annotated[Report, tyro.conf.subcommand("report", prefix_name=False)]
    | Annotated[Reproduce, tyro.conf.subcommand("reproduce", prefix_name=False)]
    | Annotated[Explore, tyro.conf.subcommand("explore", prefix_name=False)]
    | Annotated[Forecast, tyro.conf.subcommand("forecast", prefix_name=False)]
    | Annotated[Bench, tyro.conf.subcommand("bench", prefix_name=False)]
    | Annotated[Inspect, tyro.conf.subcommand("inspect", prefix_name=False)]
    | Annotated[Export, tyro.conf.subcommand("export", prefix_name=False)]
)
