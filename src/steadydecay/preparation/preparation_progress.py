"""Show the progress of a preparation: a bar on a terminal, and occasional lines elsewhere."""

import math
import time
from collections.abc import Callable
from datetime import timedelta
from typing import final

from rich.progress import BarColumn, TaskProgressColumn, TextColumn

from steadydecay.recipes.progress_bar import ProgressBar

SECONDS_BETWEEN_LINES = 10.0


@final
class PreparationProgress(ProgressBar):
    """Show documents, tokens, tokens per second, the share of the input that was read, and the remaining time.

    Args:
        total_bytes: The size of the corpus.
        begin_bytes: How much of it was read before. Speed and remaining time refer to the rest.
        clock: Returns the time in seconds.
    """

    def __init__(self, total_bytes: int, begin_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._total, self._begin_bytes, self._clock = max(1, total_bytes), begin_bytes, clock
        self._began = self._next_line = clock()
        self._begin_tokens: int | None = None
        super().__init__(BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[measures]}"))
        self._task = self._bar.add_task("", total=self._total, completed=begin_bytes, measures="")

    def update(self, bytes_read: int, documents: int, tokens: int) -> None:
        """Show the totals so far."""
        seconds = max(1e-9, self._clock() - self._began)
        # The first batch after a resumption shows how many tokens there were before, up to one batch.
        if self._begin_tokens is None:
            self._begin_tokens = tokens if self._begin_bytes else 0
        speed = (tokens - self._begin_tokens) / seconds
        measures = (
            f"{documents:,} documents  {tokens:,} tokens  {speed:,.0f} tokens/s  {self._left(bytes_read, seconds)} left"
        )
        self._bar.update(self._task, completed=bytes_read, measures=measures)
        is_end = bytes_read >= self._total
        if not self._console.is_terminal and self._is_due(is_end):
            # Several batches may come from the last bytes of a compressed file.
            self._next_line = math.inf if is_end else self._clock() + SECONDS_BETWEEN_LINES
            share = min(1.0, bytes_read / self._total)
            self._console.print(f"{share:.1%}  {measures}", highlight=False, soft_wrap=True)

    def _is_due(self, is_end: bool) -> bool:
        return self._clock() >= self._next_line or (is_end and self._next_line < math.inf)

    def _left(self, bytes_read: int, seconds: float) -> timedelta:
        done = max(1, bytes_read - self._begin_bytes)
        return timedelta(seconds=round(max(0, self._total - bytes_read) * seconds / done))
