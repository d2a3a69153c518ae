"""Open a file for reading only if it is a regular file: a pipe could block forever, and a device never ends."""

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
    """Open a regular file for reading bytes.

    Raises:
        OSError: The file does not exist or cannot be read.
        ValueError: The path is not a regular file.
    """
    if (kind := special_kind(path)) is not None:
        raise ValueError(f"{path} is {kind}, but it must be a regular file. Save the content to a file and give that.")
    return path.open("rb")


def special_kind(path: Path) -> str | None:
    """Describe the file if it is not a regular one; return None if it is.

    Raises:
        OSError: The file does not exist, or its kind cannot be determined.
    """
    mode = path.stat().st_mode
    if stat.S_ISREG(mode):
        return None
    return next((words for is_kind, words in KINDS if is_kind(mode)), "a special file")
