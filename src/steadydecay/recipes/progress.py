"""Show the progress of a run: a bar on a terminal, and occasional lines elsewhere."""

import statistics
from collections import deque
from typing import final

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from steadydecay.recipes.progress_bar import ProgressBar
from steadydecay.recipes.recipe import Recipe

LINES_WITHOUT_TERMINAL = 10
# The speed is the median over this many steps, so that a step that waits for a disk does not make it jump.
STEPS_OF_SPEED = 20


@final
class RunProgress(ProgressBar):
    """Show step, loss, the norms of the hidden layers and the speed.

    Args:
        recipe: The recipe that is trained.
        start: The number of steps already done.
        silent: Whether to show nothing, as on all ranks but the first.
    """

    def __init__(self, recipe: Recipe, start: int, *, silent: bool) -> None:
        self._recipe, self._label = recipe, f"{recipe.optimizer} seed {recipe.seed}"
        self._seconds: deque[float] = deque(maxlen=STEPS_OF_SPEED)
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[measures]}"),
            silent=silent,
        )
        self._task = self._bar.add_task(self._label, total=recipe.steps, completed=start, measures="")

    def update(self, step: int, loss: float, weight_norm: float, gradient_norm: float, seconds: float) -> None:
        """Show the results of step `step`, counted from 1, which took `seconds`."""
        self._seconds.append(seconds)
        speed = self._recipe.items_per_step / statistics.median(self._seconds)
        norms = f"‖θ‖ {weight_norm:.2f}  ‖g‖ {gradient_norm:.3f}"
        measures = f"loss {loss:.3f}  {norms}  {rounded(speed)} {self._recipe.ITEM}/s"
        steps = self._recipe.steps
        self._bar.update(self._task, completed=step, measures=measures)
        is_due = step == steps or step % max(1, steps // LINES_WITHOUT_TERMINAL) == 0
        if is_due and not self._console.is_terminal:
            self._console.print(f"{self._label}  step {step}/{steps}  {measures}", highlight=False)


def rounded(speed: float) -> str:
    """Format a speed with three digits, or as a whole number if that has more.

    >>> rounded(123456.7), rounded(3.14159), rounded(0.0512)
    ('123,457', '3.14', '0.0512')
    """
    return f"{speed:,.0f}" if speed >= 100 else f"{speed:.3g}"
