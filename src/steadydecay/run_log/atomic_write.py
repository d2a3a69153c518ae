"""Replace a file at once: a reader, and a crash at any moment, finds the old content or the new, whole."""

import os
from collections.abc import Iterable
from pathlib import Path


def replace_file(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write `parts` one after the other as the new content of `path`; an error leaves the old one, and nothing else.

    Args:
        path: its folder exists.
        parts: taken one at a time, so that a large content need not be in memory twice.

    Raises:
        OSError: the file cannot be written or replaced.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
