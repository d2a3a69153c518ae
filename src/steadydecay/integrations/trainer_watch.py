"""`watch` for optimizers that a trainer builds, wraps, reloads and starts again."""

from collections.abc import Sequence
from typing import Any, final

from torch.optim import Optimizer

from steadydecay.known_optimizers.wrappers import unwrapped
from steadydecay.monitor.watch import watch


@final
class TrainerWatch:
    """One watch of each optimizer of a trainer, however often its training starts.

    Args:
        every: as in `watch`; None attaches nothing.
    """

    def __init__(self, every: int | None) -> None:
        self._every = every
        self._watches: list[ReadWatch] = []
        self._saved: list[dict[str, Any]] = []

    def attach(self, optimizers: Sequence[Optimizer]) -> None:
        """Attach where it is not yet, with the state that was loaded; optimizers of an earlier training go free.

        Raises:
            ValueError: as `watch`.
        """
        if self._every is None:
            return
        present = [unwrapped(optimizer) for optimizer in optimizers]
        if [one.optimizer for one in self._watches] != present:
            self.remove()
            self._watches = [ReadWatch(optimizer, self._every) for optimizer in present]
        for one, state in zip(self._watches, self._saved, strict=False):
            one.handle.load_state_dict(state)
        self._saved = []
        for one in self._watches:
            one.skip()

    def new_metrics(self) -> dict[str, float]:
        """What has been measured since the last call; names start with the optimizer's index if there are several."""
        found: dict[str, float] = {}
        for index, one in enumerate(self._watches):
            prefix = f"{index}/" if len(self._watches) > 1 else ""
            found |= {f"{prefix}{name}": value for name, value in one.new_metrics().items()}
        return found

    def remove(self) -> None:
        """Take every watch off."""
        for one in self._watches:
            one.handle.remove()
        self._watches = []

    def state_dict(self) -> dict[str, Any]:
        """Of every watch, in the order of the optimizers."""
        return {"watches": [one.handle.state_dict() for one in self._watches]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Keep what `state_dict` gave for the next `attach`."""
        self._saved = list(state["watches"])


@final
class ReadWatch:
    """The watch of one optimizer, of which each measured step is read once."""

    def __init__(self, optimizer: Optimizer, every: int) -> None:
        self.optimizer, self.handle = optimizer, watch(optimizer, every)
        self._step_read = 0

    def skip(self) -> None:
        """Let what has been measured so far count as read."""
        self._step_read = self.handle.measured_step

    def new_metrics(self) -> dict[str, float]:
        """What `Watch.metrics` has that was not read yet; else nothing."""
        if self.handle.measured_step == self._step_read:
            return {}
        self.skip()
        return self.handle.metrics()
