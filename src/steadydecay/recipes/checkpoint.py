"""Checkpoints that are whole or absent: the checksum is in the file's name, so one rename brings both.

One process writes to a folder at a time (rank 0).
"""

import hashlib
import os
import re
import warnings
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple, final

import torch

from steadydecay.run_log.atomic_write import sync_folder
from steadydecay.run_log.plain_file import open_plain
from steadydecay.run_log.unicode_path import unicode_path
from steadydecay.theory.validation import require_in

# Below the folder of a run.
CHECKPOINT_FOLDER = "checkpoints"
CHECKPOINT_NAME = re.compile(r"step-(\d{9,})-([0-9a-f]{16})\.pt")
TEMPORARY_SUFFIX = ".pt.tmp"
TEMPORARY_NAME = re.compile(r"\.step-\d{9,}-\d+\.pt\.tmp")


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
        CheckpointError: state holds an object that could not be loaded again, or the disk is full or not writable.
    """
    require_in("step", step, 0, include_low=True)
    require_in("keep", keep, 1, include_low=True, remedy="the checkpoint just saved always stays")
    folder = Path(folder)
    try:
        saved = _saved(folder, step, state)
    except OSError as error:
        raise CheckpointError(
            f"the checkpoint of step {step} cannot be written to {folder} ({error.strerror or error}); those before it "
            "are as they were: make room or make the folder writable, then give the same command again"
        ) from error
    _delete_old(folder, step, saved, keep)
    return saved


def load_latest(
    folder: str | Path, map_location: Any = "cpu", accept: Callable[[Checkpoint, dict[str, Any]], None] | None = None
) -> tuple[int, dict[str, Any]] | None:
    """Step and state of the newest whole checkpoint, or None where none was ever finished.

    One that is broken, cannot be read or is not accepted is skipped with a warning that names it.

    Args:
        folder: as given to `save`; may be missing.
        map_location: as in `torch.load`.
        accept: called with checkpoint and state, newest first; its CheckpointError says what the state lacks.

    Raises:
        CheckpointError: the folder cannot be read, or there are checkpoints and none is whole.
    """
    folder = Path(folder)
    try:
        found = checkpoints(folder)
    except OSError as error:
        raise CheckpointError(
            f"{folder} cannot be read ({error.strerror or error}), so what it holds is not known: make it readable, or "
            "choose another folder (--out)"
        ) from error
    for checkpoint in found:
        try:
            state = state_in(checkpoint, map_location)
            if accept is not None:
                accept(checkpoint, state)
        except CheckpointError as error:
            warnings.warn(f"skipped {checkpoint.path}: {error}", stacklevel=2)
        else:
            return checkpoint.step, state
    if found:
        raise CheckpointError(
            f"none of the {len(found)} checkpoints in {folder} is whole; legal is at least one that can be read and "
            "whose content matches the checksum in its name: bring one back from a copy, or start anew (--restart)"
        )
    return None


def state_in(checkpoint: Checkpoint, map_location: Any) -> dict[str, Any]:
    """The content of a checkpoint, or CheckpointError with what is wrong with it."""
    try:
        if _checksum(checkpoint.path) != checkpoint.checksum:
            raise CheckpointError("its content does not match the checksum in its name")
        state = torch.load(checkpoint.path, map_location=map_location, weights_only=True)
    except OSError as error:
        raise CheckpointError(f"it cannot be read ({error.strerror or error})") from error
    except CheckpointError:
        raise
    except Exception as error:  # Where a content is none of torch's, its parsers raise whatever they like.
        raise CheckpointError(f"it cannot be loaded ({short(error)})") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"it holds a {type(state).__name__}; legal is a dict")
    return state


def checkpoints(folder: str | Path) -> list[Checkpoint]:
    """Checkpoints of a folder, newest first, whole or not; of one step, the file written last comes first.

    Raises:
        OSError: the folder cannot be read; one that is missing holds none.
    """
    folder = Path(folder)
    named = ((CHECKPOINT_NAME.fullmatch(name), folder / name) for name in _names_in(folder))
    found = [Checkpoint(int(match[1]), match[2], path) for match, path in named if match]
    return sorted(found, key=lambda one: (one.step, _written_at(one.path)), reverse=True)


def delete_all(folder: str | Path) -> None:
    """Delete the checkpoints of a folder, the newest last, and what a killed process left of one; no other file.

    Raises:
        OSError: the folder cannot be read or written.
    """
    for checkpoint in reversed(checkpoints(folder)):
        checkpoint.path.unlink(missing_ok=True)
    delete_temporaries(folder)


def delete_temporaries(folder: str | Path) -> None:
    """Delete what a killed process left of a checkpoint. Raises as `delete_all`."""
    folder = Path(folder)
    for name in _names_in(folder):
        if TEMPORARY_NAME.fullmatch(name):
            (folder / name).unlink(missing_ok=True)


def short(error: Exception) -> str:
    """An error in one line of at most 200 characters: torch's go on for many."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]


def _names_in(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        # A link to a disk that is not there now may lead to all the checkpoints.
        if folder.is_symlink():
            raise
        return []


def _written_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _is_whole(checkpoint: Checkpoint) -> bool:
    try:
        return _checksum(checkpoint.path) == checkpoint.checksum
    except (OSError, ValueError):
        return False


def _saved(folder: Path, step: int, state: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    delete_temporaries(folder)
    temporary = folder / f".step-{step:09d}-{os.getpid()}{TEMPORARY_SUFFIX}"
    try:
        _write_synced(temporary, state)
        _require_loadable(temporary, step)
        saved = folder / f"step-{step:09d}-{_checksum(temporary)}.pt"
        temporary.replace(saved)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(folder)
    return saved


def _write_synced(path: Path, state: dict[str, Any]) -> None:
    try:
        with path.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
    except RuntimeError as error:
        # torch says that the file has no end, and not that the disk is full, or that Ctrl-C came between.
        if isinstance(error.__context__, (OSError, KeyboardInterrupt)):
            raise error.__context__ from None
        raise


def _require_loadable(path: Path, step: int) -> None:
    """Refuse at the first save what would only fail when a run resumes; mapped, so no tensor is read."""
    try:
        with unicode_path(path) as named:
            torch.load(named, map_location="cpu", weights_only=True, mmap=True)
    except UnpicklingError as error:
        raise CheckpointError(
            f"state of step {step} holds an object that torch.load(weights_only=True) refuses; legal are tensors, "
            f"numbers, strings and containers of them: convert it (an array to a tensor, a path to str). {error}"
        ) from error


def _checksum(path: Path) -> str:
    with open_plain(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _delete_old(folder: Path, step: int, saved: Path, keep: int) -> None:
    others = [one for one in checkpoints(folder) if one.path != saved]
    # A later step than the one just saved was given up when the run went back: it goes first.
    earlier = sorted((one for one in others if one.step != step), key=lambda one: one.step < step, reverse=True)
    # One that is broken must not push out one that is whole.
    whole = list(islice((one for one in earlier if _is_whole(one)), keep - 1))
    kept = [*whole, *(one for one in earlier if one not in whole)][: keep - 1]
    for checkpoint in (one for one in others if one not in kept):
        try:
            checkpoint.path.unlink(missing_ok=True)
        except OSError as error:
            warnings.warn(f"{checkpoint.path} stays, for it cannot be deleted ({error.strerror})", stacklevel=3)
