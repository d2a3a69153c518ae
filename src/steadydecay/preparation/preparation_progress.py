"""Progress of a preparation: a bar on a terminal, a line now and then elsewhere."""

import math
import time
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import Self, final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

SECONDS_BETWEEN_LINES = 10.0


@final
class PreparationProgress:
    """Shows documents, tokens, tokens per second, the share of the input that is read, and the time left.

    Args:
        total_bytes: of the corpus.
        begin_bytes: of it that were read before; the speed and the time left are those of the rest.
        clock: in seconds.
    """

    def __init__(self, total_bytes: int, begin_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._total, self._begin_bytes, self._clock = max(1, total_bytes), begin_bytes, clock
        self._began = self._next_line = clock()
        self._begin_tokens: int | None = None
        self._console = Console(stderr=True)
        self._bar = Progress(
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[measures]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=self._total, completed=begin_bytes, measures="")

    def update(self, bytes_read: int, documents: int, tokens: int) -> None:
        """Show what is done in all."""
        seconds = max(1e-9, self._clock() - self._began)
        # The first batch after a resumption says how many tokens there were before, to the accuracy of a batch.
        if self._begin_tokens is None:
            self._begin_tokens = tokens if self._begin_bytes else 0
        speed = (tokens - self._begin_tokens) / seconds
        measures = (
            f"{documents:,} documents  {tokens:,} tokens  {speed:,.0f} tokens/s  {self._left(bytes_read, seconds)} left"
        )
        self._bar.update(self._task, completed=bytes_read, measures=measures)
        is_end = bytes_read >= self._total
        if not self._console.is_terminal and self._is_due(is_end):
            # Several batches may come from the last bytes of a packed file.
            self._next_line = math.inf if is_end else self._clock() + SECONDS_BETWEEN_LINES
            share = min(1.0, bytes_read / self._total)
            self._console.print(f"{share:.1%}  {measures}", highlight=False, soft_wrap=True)

    def _is_due(self, is_end: bool) -> bool:
        return self._clock() >= self._next_line or (is_end and self._next_line < math.inf)

    def _left(self, bytes_read: int, seconds: float) -> timedelta:
        done = max(1, bytes_read - self._begin_bytes)
        return timedelta(seconds=round(max(0, self._total - bytes_read) * seconds / done))

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()
