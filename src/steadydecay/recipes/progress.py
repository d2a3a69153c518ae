"""Progress of a run: a bar on a terminal, a line now and then elsewhere."""

import statistics
from collections import deque
from types import TracebackType
from typing import Self, final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from steadydecay.recipes.recipe import Recipe

LINES_WITHOUT_TERMINAL = 10
# Steps over whose median the speed is shown: one that waits for a disk must not make it jump.
STEPS_OF_SPEED = 20


@final
class RunProgress:
    """Shows step, loss, the norms of the hidden layers and the speed; silent on all ranks but the first.

    Args:
        recipe: that is trained.
        start: steps already done.
        silent: whether to show nothing.
    """

    def __init__(self, recipe: Recipe, start: int, *, silent: bool) -> None:
        self._recipe, self._label = recipe, f"{recipe.optimizer} seed {recipe.seed}"
        self._seconds: deque[float] = deque(maxlen=STEPS_OF_SPEED)
        self._console = Console(stderr=True, quiet=silent)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[measures]}"),
            console=self._console,
            disable=silent or not self._console.is_terminal,
        )
        self._task = self._bar.add_task(self._label, total=recipe.steps, completed=start, measures="")

    def update(self, step: int, loss: float, weight_norm: float, gradient_norm: float, seconds: float) -> None:
        """Show what step `step`, counted from 1, gave in so many seconds."""
        self._seconds.append(seconds)
        speed = self._recipe.items_per_step / statistics.median(self._seconds)
        norms = f"‖θ‖ {weight_norm:.2f}  ‖g‖ {gradient_norm:.3f}"
        measures = f"loss {loss:.3f}  {norms}  {rounded(speed)} {self._recipe.ITEM}/s"
        steps = self._recipe.steps
        self._bar.update(self._task, completed=step, measures=measures)
        is_due = step == steps or step % max(1, steps // LINES_WITHOUT_TERMINAL) == 0
        if is_due and not self._console.is_terminal:
            self._console.print(f"{self._label}  step {step}/{steps}  {measures}", highlight=False)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()


def rounded(speed: float) -> str:
    """To three digits or to whole numbers, whichever is more.

    >>> rounded(123456.7), rounded(3.14159), rounded(0.0512)
    ('123,457', '3.14', '0.0512')
    """
    return f"{speed:,.0f}" if speed >= 100 else f"{speed:.3g}"
