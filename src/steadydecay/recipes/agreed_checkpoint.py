"""Choose the checkpoint from which all ranks of a run resume: rank 0 proposes it, and every rank must accept it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from steadydecay.recipes.checkpoint import Checkpoint, CheckpointError, load_latest, state_in
from steadydecay.recipes.workers import Workers

Accept = Callable[[Checkpoint, dict[str, Any]], None]


def load_agreed(folder: Path, workers: Workers, accept: Accept) -> int | None:
    """Load the newest whole checkpoint that every rank accepts.

    As in `load_latest`, a checkpoint that some rank cannot read or does not accept is skipped by all ranks, and rank 0
    issues a warning.

    Returns:
        The step of the checkpoint, or None if no checkpoint was ever finished.

    Raises:
        CheckpointError: The folder cannot be read, or there are checkpoints but none is whole. Every rank raises it.
    """
    if workers.rank > 0:
        return _follow(workers, accept)

    def offer(checkpoint: Checkpoint, state: dict[str, Any]) -> None:
        workers.told(checkpoint)
        workers.together(lambda: accept(checkpoint, state))

    try:
        found = load_latest(folder, accept=offer)
    except CheckpointError as error:
        # Not raised by an offer, whose CheckpointError makes way for the next checkpoint.
        workers.told(error)
        raise
    if found is None:
        workers.told(None)
        return None
    return found[0]


def _follow(workers: Workers, accept: Accept) -> int | None:
    while True:
        offered = workers.told(None)
        if offered is None:
            return None
        if isinstance(offered, CheckpointError):
            raise offered
        try:
            workers.together(lambda checkpoint=offered: accept(checkpoint, _state_here(checkpoint, workers.rank)))
        except CheckpointError:
            continue
        return offered.step


def _state_here(checkpoint: Checkpoint, rank: int) -> dict[str, Any]:
    try:
        return state_in(checkpoint, "cpu")
    except CheckpointError as error:
        remedy = "every node must be able to read the run's folder (--out)"
        raise CheckpointError(f"on rank {rank} {error}; {remedy}") from error
