"""Checkpoints that are either whole or absent: the checksum is part of the file name, so one rename publishes both.

Only one process (rank 0) writes to a folder at a time.
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

# Relative to the folder of a run.
CHECKPOINT_FOLDER = "checkpoints"
CHECKPOINT_NAME = re.compile(r"step-(\d{9,})-([0-9a-f]{16})\.pt")
TEMPORARY_SUFFIX = ".pt.tmp"
TEMPORARY_NAME = re.compile(r"\.step-\d{9,}-\d+\.pt\.tmp")


@final
class CheckpointError(RuntimeError):
    """A checkpoint cannot be written in a form that loads again, or no checkpoint in a folder is whole."""


class Checkpoint(NamedTuple):
    """A checkpoint file as its name describes it: the step, and the first 16 hexadecimal digits of its SHA-256."""

    step: int
    checksum: str
    path: Path


def save(folder: str | Path, step: int, state: dict[str, Any], keep: int = 3) -> Path:
    """Write a checkpoint. A crash at any moment leaves the previous one loadable.

    Args:
        folder: The folder for checkpoints, created if it is missing.
        step: The step, ≥ 0. An earlier checkpoint of the same step is replaced.
        state: What `torch.load(weights_only=True)` accepts: tensors, numbers, strings and containers of them.
        keep: How many checkpoints to keep, including this one, ≥ 1.

    Raises:
        ValueError: `step` or `keep` is outside its range.
        CheckpointError: `state` contains an object that could not be loaded again, or the disk is full or not writable.
    """
    require_in("step", step, 0, include_low=True)
    require_in("keep", keep, 1, include_low=True, remedy="the new checkpoint is always kept")
    folder = Path(folder)
    try:
        saved = _saved(folder, step, state)
    except OSError as error:
        raise CheckpointError(
            f"the checkpoint of step {step} cannot be written to {folder} ({error.strerror or error}). Earlier "
            "checkpoints "
            "are unchanged. Free some space or make the folder writable, then run the same command again."
        ) from error
    _delete_old(folder, step, saved, keep)
    return saved


def load_latest(
    folder: str | Path, map_location: Any = "cpu", accept: Callable[[Checkpoint, dict[str, Any]], None] | None = None
) -> tuple[int, dict[str, Any]] | None:
    """Load the newest whole checkpoint and return its step and state, or None if no checkpoint was ever finished.

    A checkpoint that is damaged, cannot be read or is not accepted is skipped with a warning that names it.

    Args:
        folder: The folder that was passed to `save`. It may be missing.
        map_location: As in `torch.load`.
        accept: Called with each checkpoint and its state, newest first. To reject one, it raises a CheckpointError that
            says what the state lacks.

    Raises:
        CheckpointError: The folder cannot be read, or there are checkpoints but none is whole.
    """
    folder = Path(folder)
    try:
        found = checkpoints(folder)
    except OSError as error:
        raise CheckpointError(
            f"{folder} cannot be read ({error.strerror or error}), so its contents are unknown. Make it readable, or "
            "choose another folder (--out)."
        ) from error
    for checkpoint in found:
        try:
            state = state_in(checkpoint, map_location)
            if accept is not None:
                accept(checkpoint, state)
        except CheckpointError as error:
            warnings.warn(f"Skipped {checkpoint.path}: {error}", stacklevel=2)
        else:
            return checkpoint.step, state
    if found:
        raise CheckpointError(
            f"none of the {len(found)} checkpoints in {folder} is whole, that is, readable and with content that "
            "matches "
            "the checksum in its name. Restore one from a copy, or start again from the beginning (--restart)."
        )
    return None


def state_in(checkpoint: Checkpoint, map_location: Any) -> dict[str, Any]:
    """Load a checkpoint, or raise a CheckpointError that says what is wrong with it."""
    try:
        if _checksum(checkpoint.path) != checkpoint.checksum:
            raise CheckpointError("its content does not match the checksum in its name")
        state = torch.load(checkpoint.path, map_location=map_location, weights_only=True)
    except OSError as error:
        raise CheckpointError(f"it cannot be read ({error.strerror or error})") from error
    except CheckpointError:
        raise
    except Exception as error:  # On content that torch did not write, its parsers may raise anything.
        raise CheckpointError(f"it cannot be loaded ({short(error)})") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"it contains a {type(state).__name__} where a dict is expected")
    return state


def checkpoints(folder: str | Path) -> list[Checkpoint]:
    """List the checkpoints of a folder, whole or not, newest first. For one step, the file written last comes first.

    Raises:
        OSError: The folder cannot be read. A missing folder contains no checkpoints and is no error.
    """
    folder = Path(folder)
    named = ((CHECKPOINT_NAME.fullmatch(name), folder / name) for name in _names_in(folder))
    found = [Checkpoint(int(match[1]), match[2], path) for match, path in named if match]
    return sorted(found, key=lambda one: (one.step, _written_at(one.path)), reverse=True)


def delete_all(folder: str | Path) -> None:
    """Delete the checkpoints of a folder, the newest last, and the remains of interrupted saves, but no other file.

    Raises:
        OSError: The folder cannot be read or written.
    """
    for checkpoint in reversed(checkpoints(folder)):
        checkpoint.path.unlink(missing_ok=True)
    delete_temporaries(folder)


def delete_temporaries(folder: str | Path) -> None:
    """Delete the remains of interrupted saves. Raises the errors of `delete_all`."""
    folder = Path(folder)
    for name in _names_in(folder):
        if TEMPORARY_NAME.fullmatch(name):
            (folder / name).unlink(missing_ok=True)


def short(error: Exception) -> str:
    """Shorten an error to one line of at most 200 characters, because torch's errors may run to many lines."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]


def _names_in(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        # A link to a disk that is not mounted now may lead to all the checkpoints.
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
        # torch says that the file is incomplete, not that the disk is full or that Ctrl-C interrupted it.
        if isinstance(error.__context__, (OSError, KeyboardInterrupt)):
            raise error.__context__ from None
        raise


def _require_loadable(path: Path, step: int) -> None:
    """Fail at the first save instead of when the run resumes. The file is memory-mapped, so no tensor is read."""
    try:
        with unicode_path(path) as named:
            torch.load(named, map_location="cpu", weights_only=True, mmap=True)
    except UnpicklingError as error:
        raise CheckpointError(
            f"the state of step {step} contains an object that torch.load(weights_only=True) refuses. It must consist "
            "of "
            f"tensors, numbers, strings and containers of them; convert arrays to tensors and paths to str. {error}"
        ) from error


def _checksum(path: Path) -> str:
    with open_plain(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _delete_old(folder: Path, step: int, saved: Path, keep: int) -> None:
    others = [one for one in checkpoints(folder) if one.path != saved]
    # A later step than the one just saved was abandoned when the run went back, so it is deleted first.
    earlier = sorted((one for one in others if one.step != step), key=lambda one: one.step < step, reverse=True)
    # A damaged checkpoint must not displace a whole one.
    whole = list(islice((one for one in earlier if _is_whole(one)), keep - 1))
    kept = [*whole, *(one for one in earlier if one not in whole)][: keep - 1]
    for checkpoint in (one for one in others if one not in kept):
        try:
            checkpoint.path.unlink(missing_ok=True)
        except OSError as error:
            warnings.warn(f"{checkpoint.path} cannot be deleted and remains ({error.strerror}).", stacklevel=3)
