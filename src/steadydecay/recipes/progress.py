"""Progress of a run: a bar on a terminal, a line now and then elsewhere."""

from types import TracebackType
from typing import Self, final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINES_WITHOUT_TERMINAL = 10


@final
class RunProgress:
    """Shows step, loss and the norms of the hidden layers; silent on all ranks but the first."""

    def __init__(self, label: str, start: int, steps: int, *, silent: bool) -> None:
        self._label, self._steps = label, steps
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
        self._task = self._bar.add_task(label, total=steps, completed=start, measures="")

    def update(self, step: int, loss: float, weight_norm: float, gradient_norm: float) -> None:
        """Show what step `step`, counted from 1, gave."""
        measures = f"loss {loss:.3f}  ‖θ‖ {weight_norm:.2f}  ‖g‖ {gradient_norm:.3f}"
        self._bar.update(self._task, completed=step, measures=measures)
        is_due = step == self._steps or step % max(1, self._steps // LINES_WITHOUT_TERMINAL) == 0
        if is_due and not self._console.is_terminal:
            self._console.print(f"{self._label}  step {step}/{self._steps}  {measures}", highlight=False)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()
