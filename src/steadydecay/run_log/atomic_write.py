"""Replace a file atomically: a reader finds either the old or the new content, even if the process crashes."""

import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedWriter
from pathlib import Path

from steadydecay.run_log.held_file import hold

# Threads of one process, and processes with the same number on several machines, need different names.
TOKEN_BYTES = 4


def replace_file(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write `parts` one after the other as the new content of `path`.

    If an error occurs, the old file stays as it was and no temporary file remains. Temporary files that killed
    processes left behind are removed. Several writers may replace the same file at the same time; the last one wins.

    Args:
        path: The file to replace. Its folder must exist.
        parts: The new content. Parts are taken one at a time, so that large content need not be in memory twice.

    Raises:
        OSError: The file cannot be written or replaced.
    """
    _sweep(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(TOKEN_BYTES)}.tmp")
    try:
        # Nobody else writes under this name, but another writer may be checking whether it was left behind.
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
    """Add the file's name to errors of the operating system, which omit it when a disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def sync_folder(folder: Path) -> None:
    """Make the names of a folder's files durable, as fsync does for their content, where the system supports it."""
    # Windows cannot open folders, and some file systems cannot sync them; there, a rename is durable enough.
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _sweep(path: Path) -> None:
    """Remove temporary files of `path` that no process is writing."""
    leftover = re.compile(rf"\.{re.escape(path.name)}\.\d+(-[0-9a-f]{{{2 * TOKEN_BYTES}}})?\.tmp")
    for other in path.parent.iterdir():
        if leftover.fullmatch(other.name):
            # A file that is locked is still being written. Files that are not ours are left alone.
            with suppress(OSError):
                _remove_if_free(other)


def _remove_if_free(path: Path) -> None:
    held = hold(path, make=False)
    if held.is_locked:
        path.unlink()
    held.file.close()
