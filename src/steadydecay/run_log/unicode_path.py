"""Another name for a file whose own name is no UTF-8, for libraries that take no other."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from steadydecay.run_log.readable_text import readable


@contextmanager
def unicode_path(path: Path) -> Iterator[Path]:
    """The path itself, or a link to it that is there until the block ends; what was mapped stays mapped.

    Raises:
        OSError: no link can be made.
    """
    if readable(str(path)) == str(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        # Some libraries ask the suffix what a file is.
        link = Path(folder, f"linked{readable(path.suffix)}")
        link.symlink_to(path.absolute())
        yield link
