"""A file that one process holds at a time: by a lock of the operating system, which ends with the process.

The lock is flock's, and not that of fcntl, which a process loses when it closes any other handle of the same file.
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
except ImportError:  # Windows has none.
    fcntl = None

# What file systems without locks answer.
NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})
HELD: WeakSet[FileIO] = WeakSet()


@final
@dataclass(frozen=True)
class HeldFile:
    """An open file.

    Attributes:
        file: for reading and writing; closing it, or the end of the process, frees it for others.
        is_locked: False where the file system or the platform has no locks, so that others do not notice.
    """

    file: FileIO
    is_locked: bool


def hold(path: Path, *, make: bool = True, wait: bool = False) -> HeldFile:
    """Open a file and hold it against all others that ask, also in this process.

    Args:
        path: of the file.
        make: the file is made if it is missing, and made anew if whoever held it before removed it.
        wait: until whoever holds it lets it go.

    Raises:
        BlockingIOError: it is held, and not `wait`.
        OSError: it cannot be opened.
    """
    while True:
        file = FileIO(_opened(path, make), "r+")
        try:
            is_locked = _is_locked(file, wait)
        except BaseException:
            file.close()
            raise
        # Whoever held it before may have removed it between the two lines above.
        if not is_locked or _is_at(file, path):
            HELD.add(file)
            return HeldFile(file, is_locked)
        file.close()


def _opened(path: Path, make: bool) -> int:
    made = os.O_CREAT if make else 0
    # A pipe or a device of this name must not block.
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
    """A forked process shares its parent's locks, and would keep them after the parent's death."""
    for file in list(HELD):
        file.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)
