"""One process writes to a folder at a time; another one that asks is told which."""

import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import final

from steadydecay.run_log.atomic_write import naming
from steadydecay.run_log.held_file import HeldFile, hold

LOCK_NAME = ".lock"


@final
class FolderInUseError(RuntimeError):
    """Another process writes to the folder."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder, made if missing, until the block or the process ends, whichever way it does.

    Raises:
        FolderInUseError: another process holds it, or another block of this one.
        OSError: the folder cannot be made or written.
    """
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    path = folder / LOCK_NAME
    try:
        held = _held(folder, path)
        try:
            yield
        finally:
            _release(held, path)
    finally:
        # A folder in which nothing was written is not left behind; one that holds something stays.
        for one in made:
            with suppress(OSError):
                one.rmdir()


def _held(folder: Path, path: Path) -> HeldFile:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = hold(path)
    except BlockingIOError:
        raise FolderInUseError(
            f"{folder} is in use by {_owner(path)}; wait until it ends, end it, or choose another folder (--out)"
        ) from None
    if not held.is_locked:
        warnings.warn(
            f"the file system of {folder} has no locks, so a second run in it would not be noticed: start only one",
            stacklevel=4,
        )
    try:
        with naming(path):
            _sign(held)
    except OSError:
        _release(held, path)
        raise
    return held


def _sign(held: HeldFile) -> None:
    owner = f"process {os.getpid()} on {socket.gethostname()}, since {datetime.now():%Y-%m-%d %H:%M}"
    held.file.truncate(0)
    held.file.write(owner.encode())


def _owner(path: Path) -> str:
    # It may have ended since, or not yet have written its name.
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace") or "another process"
    return "another process"


def _release(held: HeldFile, path: Path) -> None:
    # Closed already: this is a forked process, and the folder is its parent's.
    if held.file.closed:
        return
    # Removed while it is held, so that nobody finds it free and loses it.
    with suppress(OSError):
        path.unlink()
    held.file.close()
