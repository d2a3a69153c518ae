"""Open a file for reading only if it is a plain one: a pipe would block for ever, and a device never ends."""

import stat
from io import BufferedReader
from pathlib import Path

KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def open_plain(path: Path) -> BufferedReader:
    """The file, opened for reading bytes.

    Raises:
        OSError: nothing is there, or it cannot be read.
        ValueError: it is no plain file.
    """
    if (kind := special_kind(path)) is not None:
        raise ValueError(f"{path} is {kind}; legal is a plain file: write what it gives to one, and name that")
    return path.open("rb")


def special_kind(path: Path) -> str | None:
    """What the file is if it is no plain one, in words; else None.

    Raises:
        OSError: nothing is there, or it cannot be known.
    """
    mode = path.stat().st_mode
    if stat.S_ISREG(mode):
        return None
    return next((words for is_kind, words in KINDS if is_kind(mode)), "a special file")
