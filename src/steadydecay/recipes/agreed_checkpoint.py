"""The checkpoint from which all ranks of a run go on: rank 0 chooses, and each rank has to accept it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from steadydecay.recipes.checkpoint import Checkpoint, CheckpointError, load_latest, state_in
from steadydecay.recipes.workers import Workers

Accept = Callable[[Checkpoint, dict[str, Any]], None]


def load_agreed(folder: Path, workers: Workers, accept: Accept) -> int | None:
    """Load the newest whole checkpoint that every rank accepts; returns its step, or None where none was ever finished.

    As `load_latest`: one that a rank cannot read or does not accept is skipped by all, with a warning of rank 0.

    Raises:
        CheckpointError: the folder cannot be read, or there are checkpoints and none is whole; on every rank.
    """
    if workers.rank > 0:
        return _follow(workers, accept)

    def offer(checkpoint: Checkpoint, state: dict[str, Any]) -> None:
        workers.told(checkpoint)
        workers.together(lambda: accept(checkpoint, state))

    try:
        found = load_latest(folder, accept=offer)
    except CheckpointError as error:
        # Not of an offer, whose CheckpointError makes room for the next one.
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
        remedy = "every node has to see the folder of the run (--out)"
        raise CheckpointError(f"on rank {rank} {error}; {remedy}") from error
