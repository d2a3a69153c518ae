"""What a run finds of its own log as it starts: whether that fits to the step from which it goes on."""

import warnings
from collections.abc import Iterator
from pathlib import Path

from steadydecay.recipes.checkpoint import CheckpointError
from steadydecay.run_log.missing_steps import in_words, missing_steps
from steadydecay.run_log.plain_file import special_kind
from steadydecay.run_log.reader import LogFaults, records_over_steps
from steadydecay.run_log.record import step_of


def require_log_fits(path: Path, steps_done: int, checkpoint_every: int) -> None:
    """Refuse to overwrite a long log from step 0; warn of steps before `steps_done` that the log does not hold.

    Args:
        path: of the log; may be missing.
        steps_done: of the checkpoint from which the run goes on, 0 without one.
        checkpoint_every: steps between checkpoints.

    Raises:
        OSError: the log cannot be read, or is a link to nothing.
        ValueError: it is no plain file.
        CheckpointError: the log goes on beyond the first checkpoint, and there is none.
    """
    steps = list(_logged_steps(path))
    if not steps_done and steps and steps[-1] > checkpoint_every:
        raise CheckpointError(
            f"{path} goes to step {steps[-1]:,.0f}, and there is no checkpoint beside it, though the first was due at "
            f"step {checkpoint_every:,}: bring the checkpoints back, choose another folder (--out), or start anew, "
            "which deletes the log (--restart)"
        )
    if missing := missing_steps(steps, steps_done):
        warnings.warn(
            f"{path} lacks steps {in_words(missing)}, though the checkpoint is of step {steps_done:,}: the weights are "
            "whole, and the report will show a gap; to train and log them again, start anew (--restart)",
            stacklevel=3,
        )


def require_replaceable(path: Path) -> None:
    """ValueError if at the place of the log is something that a new log cannot replace."""
    if path.exists() and (kind := special_kind(path)) is not None:
        raise ValueError(f"{path} is {kind}; legal is a plain file or nothing: move it away")


def _logged_steps(path: Path) -> Iterator[float]:
    # A link to a disk that is not there now is no missing log.
    if not path.exists() and not path.is_symlink():
        return
    for record in records_over_steps(path, LogFaults()):
        step = step_of(record)
        if record["kind"] == "step" and step is not None:
            yield step
