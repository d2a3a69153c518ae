"""Show the progress of many trials: a bar on a terminal, a line per trial elsewhere, and the remaining time."""

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import final

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

from steadydecay.recipes.progress_bar import ProgressBar
from steadydecay.recipes.recipe import Recipe
from steadydecay.trials.run_trials import TrialEnd


@final
class TrialsProgress(ProgressBar):
    """Show how many trials have ended, how the last one ended, and about how long the others will take.

    Args:
        label: What the trials are for.
        recipes: All trials.
    """

    def __init__(self, label: str, recipes: Sequence[Recipe]) -> None:
        self._label, self._left = label, {recipe: recipe.steps for recipe in recipes}
        self._count, self._steps_done, self._began = len(self._left), 0, time.monotonic()
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[told]}"),
        )
        self._task = self._bar.add_task(label, total=self._count, told="")

    def __call__(self, end: TrialEnd) -> None:
        """Record the end of a trial."""
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
        """Estimate the time of the remaining steps from the speed of those that were trained now."""
        seconds = (time.monotonic() - self._began) / max(1, self._steps_done) * sum(self._left.values())
        return timedelta(seconds=round(seconds))


def _in_words(end: TrialEnd) -> str:
    why = f" ({end.ending.message})" if end.ending.message else ""
    tried = f" after {end.attempts} attempts" if end.attempts > 1 else ""
    return f"{end.folder.name} {end.ending.status}{tried}{why}"
