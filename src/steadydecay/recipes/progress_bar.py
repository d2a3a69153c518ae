"""A progress bar on standard error, which appears only on a terminal and only while its block runs."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import Progress, ProgressColumn


class ProgressBar:
    """A console and a bar for subclasses to write to. Use it as a context manager.

    Args:
        columns: The columns of the bar.
        silent: Whether to show nothing at all.
    """

    def __init__(self, *columns: ProgressColumn, silent: bool = False) -> None:
        self._console = Console(stderr=True, quiet=silent)
        self._bar = Progress(*columns, console=self._console, disable=silent or not self._console.is_terminal)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()
