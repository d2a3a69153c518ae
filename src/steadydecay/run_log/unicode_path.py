"""Give a file whose name is not valid UTF-8 another name, for libraries that accept no others."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from steadydecay.run_log.readable_text import readable


@contextmanager
def unicode_path(path: Path) -> Iterator[Path]:
    """Yield the path itself, or a link to it that exists until the block ends. Memory maps remain valid afterwards.

    Raises:
        OSError: The link cannot be created.
    """
    if readable(str(path)) == str(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        # Some libraries infer the file type from the suffix.
        link = Path(folder, f"linked{readable(path.suffix)}")
        link.symlink_to(path.absolute())
        yield link
