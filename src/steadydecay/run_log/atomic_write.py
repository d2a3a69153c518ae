"""Replace a file at once: a reader, and a crash at any moment, finds the old content or the new, whole."""

import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedWriter
from pathlib import Path

from steadydecay.run_log.held_file import hold

# Threads of one process, and processes of one number on several machines, need names of their own.
TOKEN_BYTES = 4


def replace_file(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write `parts` one after the other as the new content of `path`; an error leaves the old one, and nothing else.

    What killed processes left of the same attempt is removed. Any number of writers may replace one file at the same
    time: the last one's content stays.

    Args:
        path: its folder exists.
        parts: taken one at a time, so that a large content need not be in memory twice.

    Raises:
        OSError: the file cannot be written or replaced.
    """
    _sweep(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(TOKEN_BYTES)}.tmp")
    try:
        # Nobody else writes by this name, but another writer may be looking whether it was left behind.
        with naming(path), BufferedWriter(hold(temporary, wait=True).file) as file:
            file.truncate(0)
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """An error of the operating system names its file: a write to a full disk does not by itself."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def sync_folder(folder: Path) -> None:
    """Make the names of a folder's files durable, as fsync does their content, where the system can."""
    # Windows opens no folders, and some file systems sync none; there a rename is as durable as it gets.
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _sweep(path: Path) -> None:
    """Remove temporary files of `path` that nobody writes."""
    leftover = re.compile(rf"\.{re.escape(path.name)}\.\d+(-[0-9a-f]{{{2 * TOKEN_BYTES}}})?\.tmp")
    for other in path.parent.iterdir():
        if leftover.fullmatch(other.name):
            # Held, it is being written; what is no file of ours is left alone.
            with suppress(OSError):
                _remove_if_free(other)


def _remove_if_free(path: Path) -> None:
    held = hold(path, make=False)
    if held.is_locked:
        path.unlink()
    held.file.close()
