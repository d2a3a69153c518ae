"""Suppress lines that C++ libraries write to the error stream themselves."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

ERRORS = 2


@contextmanager
def silent_errors() -> Iterator[None]:
    """Suppress them inside the block: torch's profiler announces its start and end, and no call can change that."""
    saved, nowhere = os.dup(ERRORS), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, ERRORS)
    try:
        yield
    finally:
        os.dup2(saved, ERRORS)
        os.close(saved)
        os.close(nowhere)
