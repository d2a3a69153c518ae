"""Lock a folder so that one process writes to it at a time, and tell others which process that is."""

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
    """Another process is writing to the folder."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder until the block or the process ends, however it ends. The folder is created if it is missing.

    Raises:
        FolderInUseError: Another process, or another block of this process, holds the folder.
        OSError: The folder cannot be created or written.
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
        # A folder in which nothing was written is removed; one that contains something stays.
        for one in made:
            with suppress(OSError):
                one.rmdir()


def _held(folder: Path, path: Path) -> HeldFile:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = hold(path)
    except BlockingIOError:
        raise FolderInUseError(
            f"{folder} is in use by {_owner(path)}. Wait until it ends, stop it, or choose another folder (--out)."
        ) from None
    if not held.is_locked:
        warnings.warn(
            f"The file system of {folder} does not support locks, so a second run in it would go unnoticed. Start "
            "only one.",
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
    # The owner may have ended since, or may not have written its name yet.
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace") or "another process"
    return "another process"


def _release(held: HeldFile, path: Path) -> None:
    # If the file is closed already, this is a forked process and the folder belongs to its parent.
    if held.file.closed:
        return
    # Remove the file while it is locked, so that nobody acquires it and then loses it.
    with suppress(OSError):
        path.unlink()
    held.file.close()
