"""Check the log that a run finds when it starts: does it fit the step from which the run continues?"""

import warnings
from collections.abc import Iterator
from pathlib import Path

from steadydecay.recipes.checkpoint import CheckpointError
from steadydecay.run_log.missing_steps import in_words, missing_steps
from steadydecay.run_log.plain_file import special_kind
from steadydecay.run_log.reader import LogFaults, records_over_steps
from steadydecay.run_log.record import step_of


def require_log_fits(path: Path, steps_done: int, checkpoint_every: int) -> None:
    """Refuse to overwrite a long log from step 0, and warn if steps before `steps_done` are missing from the log.

    Args:
        path: The log, which may be missing.
        steps_done: The step of the checkpoint from which the run continues, or 0 without one.
        checkpoint_every: The number of steps between checkpoints.

    Raises:
        OSError: The log cannot be read, or is a link whose target is missing.
        ValueError: The path is not a regular file.
        CheckpointError: The log extends beyond the first checkpoint, but there is no checkpoint.
    """
    steps = list(_logged_steps(path))
    if not steps_done and steps and steps[-1] > checkpoint_every:
        raise CheckpointError(
            f"{path} extends to step {steps[-1]:,.0f}, but there is no checkpoint beside it, although the first was "
            "due "
            f"at step {checkpoint_every:,}. Restore the checkpoints, choose another folder (--out), or start again "
            "from "
            "the beginning, which deletes the log (--restart)."
        )
    if missing := missing_steps(steps, steps_done):
        warnings.warn(
            f"{path} lacks steps {in_words(missing)}, although the checkpoint is of step {steps_done:,}. The weights "
            "are "
            "complete, but the report will show a gap. To train and log these steps again, use --restart.",
            stacklevel=3,
        )


def require_replaceable(path: Path) -> None:
    """Raise ValueError if the place of the log is taken by something that a new log cannot replace."""
    if path.exists() and (kind := special_kind(path)) is not None:
        raise ValueError(f"{path} is {kind}, but only a regular file can be replaced by a new log; move it away")


def _logged_steps(path: Path) -> Iterator[float]:
    # A link to a disk that is not mounted now is not a missing log.
    if not path.exists() and not path.is_symlink():
        return
    for record in records_over_steps(path, LogFaults()):
        step = step_of(record)
        if record["kind"] == "step" and step is not None:
            yield step
