"""A file that one process holds at a time, through a lock of the operating system that ends with the process.

The lock is flock's. A lock of fcntl would be lost as soon as the process closes any other handle of the same file.
"""

import errno
import os
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import final
from weakref import WeakSet

try:
    import fcntl
except ImportError:  # Windows has no fcntl.
    fcntl = None

# The errors of file systems that do not support locks.
NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})
HELD: WeakSet[FileIO] = WeakSet()


@final
@dataclass(frozen=True)
class HeldFile:
    """An open file.

    Attributes:
        file: The file, open for reading and writing. Closing it, or ending the process, releases it for others.
        is_locked: False if the file system or the platform does not support locks, so that others do not notice.
    """

    file: FileIO
    is_locked: bool


def hold(path: Path, *, make: bool = True, wait: bool = False) -> HeldFile:
    """Open a file and lock it against all others that ask for it, including other callers in this process.

    Args:
        path: The file.
        make: Create the file if it is missing, and again if its previous holder removed it.
        wait: Wait until the current holder releases it.

    Raises:
        BlockingIOError: The file is held, and `wait` is False.
        OSError: The file cannot be opened.
    """
    while True:
        file = FileIO(_opened(path, make), "r+")
        try:
            is_locked = _is_locked(file, wait)
        except BaseException:
            file.close()
            raise
        # The previous holder may have removed the file between the two lines above.
        if not is_locked or _is_at(file, path):
            HELD.add(file)
            return HeldFile(file, is_locked)
        file.close()


def _opened(path: Path, make: bool) -> int:
    made = os.O_CREAT if make else 0
    # A pipe or a device under this name must not block.
    return os.open(path, os.O_RDWR | made | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0), 0o666)


def _is_locked(file: FileIO, wait: bool) -> bool:
    if fcntl is None:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in NO_LOCKS:
            return False
        raise
    return True


def _is_at(file: FileIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _let_go_in_child() -> None:
    """Release the locks in a forked process, which would otherwise keep them after its parent's death."""
    for file in list(HELD):
        file.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)
