"""Run a sweep in its folder, one at a time, and write its tables after each trial."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import final

from steadydecay.recipes import checkpoint
from steadydecay.recipes.checkpoint import CHECKPOINT_FOLDER
from steadydecay.recipes.earlier_log import require_replaceable
from steadydecay.recipes.recipe import Recipe
from steadydecay.run_log.folder_lock import locked
from steadydecay.run_log.record import LOG_NAME
from steadydecay.sweeps.sweep_tables import earlier_attempts, write_sweep
from steadydecay.sweeps.trial_row import TrialRow, missing_row, row_of
from steadydecay.trials.run_trials import Slot, TrialEnd, run_trials
from steadydecay.trials.trial_folder import ending_of, trial_name
from steadydecay.trials.trials_progress import TrialsProgress

TRIALS_FOLDER = "trials"


@final
class FailedTrialsError(RuntimeError):
    """Trials of a sweep failed after all attempts. The others are in the tables.

    Args:
        failed: The rows of the failed trials, at least one.
        count: The number of all trials of the sweep.
    """

    def __init__(self, failed: Sequence[TrialRow], count: int) -> None:
        first = f"{failed[0].trial} at attempt {failed[0].attempts} ({failed[0].message})"
        remedy = "Correct the cause and run the same command again, which runs only the failed trials."
        super().__init__(f"{len(failed)} of {count} trials failed. The first of them is {first}. {remedy}")


def missing_trials(recipes: Sequence[Recipe], out: Path) -> list[Recipe]:
    """Return the recipes that no earlier command has finished in `out`."""
    store = out / TRIALS_FOLDER
    return [recipe for recipe in recipes if ending_of(recipe, store / trial_name(recipe)) is None]


def run_sweep(
    recipes: Sequence[Recipe],
    fields: Sequence[str],
    out: Path,
    *,
    processes: int | None = None,
    new_slot: Callable[[], Slot] | None = None,
    restart: bool = False,
) -> list[TrialRow]:
    """Run the trials that no earlier command has finished, and write the sweep's tables after each.

    Args:
        recipes: One recipe for each trial, all different.
        fields: The names of the swept fields, including the optimizer.
        out: The folder of the sweep, created if it is missing.
        processes, new_slot: As for `run_trials`.
        restart: First delete the logs and checkpoints of these trials.

    Raises:
        FolderInUseError: Another sweep is running in `out`.
        OSError: `out` cannot be written.
        ValueError: `processes` is below 1.
    """
    store = out / TRIALS_FOLDER
    with locked(out), TrialsProgress("sweep", recipes) as progress:
        attempts = earlier_attempts(out)
        rows = {recipe: missing_row(recipe, fields, trial_name(recipe)) for recipe in recipes}

        def told(end: TrialEnd) -> None:
            rows[end.recipe] = row_of(end, fields, attempts.get(end.folder.name, 0))
            progress(end)
            # Not for trials that ended before, of which there may be hundreds. The table lists them.
            if end.attempts:
                write_sweep(list(rows.values()), out)

        if restart:
            for recipe in recipes:
                _delete_run(store / trial_name(recipe))
        run_trials(recipes, store, processes=processes, told=told, new_slot=new_slot)
        write_sweep(list(rows.values()), out)
    return list(rows.values())


def _delete_run(folder: Path) -> None:
    require_replaceable(folder / LOG_NAME)
    checkpoint.delete_all(folder / CHECKPOINT_FOLDER)
    (folder / LOG_NAME).unlink(missing_ok=True)
