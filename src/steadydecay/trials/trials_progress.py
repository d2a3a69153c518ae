"""Progress of many trials: a bar on a terminal, a line for each trial elsewhere, and the time that is left."""

import time
from collections.abc import Sequence
from datetime import timedelta
from types import TracebackType
from typing import Self, final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from steadydecay.recipes.recipe import Recipe
from steadydecay.trials.run_trials import TrialEnd


@final
class TrialsProgress:
    """Shows how many trials have ended, how the last one did, and about how long the others will take.

    Args:
        label: what the trials are for.
        recipes: all trials.
    """

    def __init__(self, label: str, recipes: Sequence[Recipe]) -> None:
        self._label, self._left = label, {recipe: recipe.steps for recipe in recipes}
        self._count, self._steps_done, self._began = len(self._left), 0, time.monotonic()
        self._console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[told]}"),
        )
        self._bar = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._task = self._bar.add_task(label, total=self._count, told="")

    def __call__(self, end: TrialEnd) -> None:
        """Take note of the end of a trial."""
        steps = self._left.pop(end.recipe)
        if not end.attempts:
            self._bar.update(self._task, advance=1)
            return
        self._steps_done += steps
        told = f"{_in_words(end)}, {self.time_left()} left"
        self._bar.update(self._task, advance=1, told=told)
        if not self._console.is_terminal or end.ending.status != "finished":
            done = self._count - len(self._left)
            self._console.print(f"{self._label}  {done}/{self._count}  {told}", highlight=False, markup=False)

    def time_left(self) -> timedelta:
        """For the remaining steps, at the speed of those that were trained now."""
        seconds = (time.monotonic() - self._began) / max(1, self._steps_done) * sum(self._left.values())
        return timedelta(seconds=round(seconds))

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()


def _in_words(end: TrialEnd) -> str:
    why = f" ({end.ending.message})" if end.ending.message else ""
    tried = f" after {end.attempts} attempts" if end.attempts > 1 else ""
    return f"{end.folder.name} {end.ending.status}{tried}{why}"
