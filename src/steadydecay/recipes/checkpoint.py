"""Checkpoints that are whole or absent: the checksum is in the file's name, so one rename brings both.

One process writes to a folder at a time (rank 0).
"""

import hashlib
import os
import re
import warnings
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple, final

import torch

from steadydecay.theory.validation import require_in

# Below the folder of a run.
CHECKPOINT_FOLDER = "checkpoints"
CHECKPOINT_NAME = re.compile(r"step-(\d{9,})-([0-9a-f]{16})\.pt")
TEMPORARY_SUFFIX = ".pt.tmp"


@final
class CheckpointError(RuntimeError):
    """A checkpoint that cannot be written so that it loads again, or a folder in which none is whole."""


class Checkpoint(NamedTuple):
    """A checkpoint file as its name describes it: step, and the first 16 hexadecimal digits of its SHA-256."""

    step: int
    checksum: str
    path: Path


def save(folder: str | Path, step: int, state: dict[str, Any], keep: int = 3) -> Path:
    """Write a checkpoint; a crash at any moment leaves the previous one loadable.

    Args:
        folder: made if missing.
        step: ≥ 0. An earlier checkpoint of the same step is replaced.
        state: tensors, numbers, strings and containers of them: what `torch.load(weights_only=True)` accepts.
        keep: ≥ 1, how many checkpoints stay, this one included.

    Raises:
        ValueError: step or keep outside its range.
        CheckpointError: state holds an object that could not be loaded again.
    """
    require_in("step", step, 0, include_low=True)
    require_in("keep", keep, 1, include_low=True, remedy="the checkpoint just saved always stays")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _delete_temporaries(folder)
    temporary = folder / f".step-{step:09d}-{os.getpid()}{TEMPORARY_SUFFIX}"
    try:
        torch.save(state, temporary)
        _require_loadable(temporary, step)
        saved = folder / f"step-{step:09d}-{_synced_checksum(temporary)}.pt"
        temporary.replace(saved)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(folder)
    _delete_old(folder, step, saved, keep)
    return saved


def load_latest(folder: str | Path, map_location: Any = "cpu") -> tuple[int, dict[str, Any]] | None:
    """Step and state of the newest whole checkpoint, or None where none was ever finished.

    A broken one is skipped with a warning that names it.

    Args:
        folder: as given to `save`; may be missing.
        map_location: as in `torch.load`.

    Raises:
        CheckpointError: there are checkpoints, and none is whole.
    """
    folder = Path(folder)
    found = checkpoints(folder)
    for checkpoint in found:
        if _checksum(checkpoint.path) == checkpoint.checksum:
            return checkpoint.step, torch.load(checkpoint.path, map_location=map_location, weights_only=True)
        warnings.warn(f"skipped {checkpoint.path}: its content does not match the checksum in its name", stacklevel=2)
    if found:
        raise CheckpointError(
            f"none of the {len(found)} checkpoints in {folder} is whole; legal is at least one whose content matches "
            "the checksum in its name: bring one back from a copy, or empty the folder to start at step 0"
        )
    return None


def checkpoints(folder: str | Path) -> list[Checkpoint]:
    """Checkpoints of a folder, newest first, whole or not; of one step, the file written last comes first."""
    named = ((CHECKPOINT_NAME.fullmatch(path.name), path) for path in Path(folder).glob("step-*.pt"))
    found = [Checkpoint(int(match[1]), match[2], path) for match, path in named if match]
    return sorted(found, key=lambda one: (one.step, one.path.stat().st_mtime_ns), reverse=True)


def _require_loadable(path: Path, step: int) -> None:
    """Refuse at the first save what would only fail when a run resumes; mapped, so no tensor is read."""
    try:
        torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except UnpicklingError as error:
        raise CheckpointError(
            f"state of step {step} holds an object that torch.load(weights_only=True) refuses; legal are tensors, "
            f"numbers, strings and containers of them: convert it (an array to a tensor, a path to str). {error}"
        ) from error


def _synced_checksum(path: Path) -> str:
    with path.open("r+b") as file:
        os.fsync(file.fileno())
    return _checksum(path)


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _sync_folder(folder: Path) -> None:
    # Windows opens no folders; there the rename is as durable as it gets.
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _delete_temporaries(folder: Path) -> None:
    for path in folder.glob(f".step-*{TEMPORARY_SUFFIX}"):
        path.unlink(missing_ok=True)


def _delete_old(folder: Path, step: int, saved: Path, keep: int) -> None:
    others = [one for one in checkpoints(folder) if one.path != saved]
    # A later step than the one just saved was given up when the run went back: it goes first.
    kept = sorted((one for one in others if one.step != step), key=lambda one: one.step < step, reverse=True)
    for checkpoint in set(others) - set(kept[: keep - 1]):
        checkpoint.path.unlink(missing_ok=True)
