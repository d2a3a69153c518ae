"""`watch` for optimizers that a trainer builds, wraps, reloads and starts again."""

from collections.abc import Sequence
from typing import Any, final

from torch.optim import Optimizer

from steadydecay.known_optimizers.wrappers import unwrapped
from steadydecay.monitor.watch import Watch, watch


@final
class TrainerWatch:
    """One watch of each optimizer of a trainer, however often its training starts.

    Args:
        every: as in `watch`; None attaches nothing.
    """

    def __init__(self, every: int | None) -> None:
        self._every = every
        self._handles: list[tuple[Optimizer, Watch]] = []
        self._saved: list[dict[str, Any]] = []
        self._steps_read: list[int] = []

    def attach(self, optimizers: Sequence[Optimizer]) -> None:
        """Attach where it is not yet, with the state that was loaded; optimizers of an earlier training go free.

        Raises:
            ValueError: as `watch`.
        """
        if self._every is None:
            return
        present = [unwrapped(optimizer) for optimizer in optimizers]
        if [optimizer for optimizer, _ in self._handles] != present:
            self.remove()
            self._handles = [(optimizer, watch(optimizer, self._every)) for optimizer in present]
        for (_, handle), state in zip(self._handles, self._saved, strict=False):
            handle.load_state_dict(state)
        self._saved = []
        self._steps_read = [handle.measured_step for _, handle in self._handles]

    def new_metrics(self) -> dict[str, float]:
        """What has been measured since the last call; names start with the optimizer's index if there are several."""
        found: dict[str, float] = {}
        for index, (_, handle) in enumerate(self._handles):
            if handle.measured_step != self._steps_read[index]:
                self._steps_read[index] = handle.measured_step
                prefix = f"{index}/" if len(self._handles) > 1 else ""
                found |= {f"{prefix}{name}": value for name, value in handle.metrics().items()}
        return found

    def remove(self) -> None:
        """Take every watch off."""
        for _, handle in self._handles:
            handle.remove()
        self._handles = []

    def state_dict(self) -> dict[str, Any]:
        """Of every watch, in the order of the optimizers."""
        return {"watches": [handle.state_dict() for _, handle in self._handles]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Keep what `state_dict` gave for the next `attach`."""
        self._saved = list(state["watches"])
