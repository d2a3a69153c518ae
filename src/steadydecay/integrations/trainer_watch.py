"""`watch` for optimizers that a trainer creates, wraps, reloads and restarts."""

from collections.abc import Sequence
from typing import Any, final

from torch.optim import Optimizer

from steadydecay.known_optimizers.wrappers import unwrapped
from steadydecay.monitor.chosen import Patterns
from steadydecay.monitor.watch import watch


@final
class TrainerWatch:
    """One watch for each optimizer of a trainer, however often its training starts.

    Args:
        every: As in `watch`. None attaches nothing.
        layers, measures, groups: Which metrics are read, as in `Watch.metrics`. A pattern must match something in at
            least one optimizer.
    """

    def __init__(
        self, every: int | None, layers: Patterns = None, measures: Patterns = None, groups: Patterns = None
    ) -> None:
        self._every = every
        self._wanted: dict[str, Patterns] = {"layers": layers, "measures": measures, "groups": groups}
        self._watches: list[ReadWatch] = []
        self._saved: list[dict[str, Any]] = []

    def attach(self, optimizers: Sequence[Optimizer]) -> None:
        """Attach a watch where it is missing, with the state that was loaded. Optimizers of an earlier training are
        released.

        Raises:
            ValueError: As in `watch`, or if a pattern matches nothing in any optimizer. Nothing is watched then.
            TypeError: The patterns are of another type.
        """
        if self._every is None:
            return
        present = [unwrapped(optimizer) for optimizer in optimizers]
        if [one.optimizer for one in self._watches] != present:
            self.remove()
            self._watches = self._new_watches(present)
        for one, state in zip(self._watches, self._saved, strict=False):
            one.handle.load_state_dict(state)
        self._saved = []
        for one in self._watches:
            one.skip()

    def _new_watches(self, optimizers: Sequence[Optimizer]) -> list["ReadWatch"]:
        assert self._every is not None
        watches = [ReadWatch(optimizer, self._every) for optimizer in optimizers]
        try:
            # Check the patterns now and not after a measured step: a wrong pattern must not end a running training.
            for argument, patterns in self._wanted.items():
                choose(watches, argument, patterns)
        except (ValueError, TypeError):
            for one in watches:
                one.handle.remove()
            raise
        return watches

    def new_metrics(self) -> dict[str, float]:
        """Return what was measured since the last call. Names start with the optimizer's index if there are several."""
        found: dict[str, float] = {}
        for index, one in enumerate(self._watches):
            prefix = f"{index}/" if len(self._watches) > 1 else ""
            found |= {f"{prefix}{name}": value for name, value in one.new_metrics().items()}
        return found

    def remove(self) -> None:
        """Detach every watch."""
        for one in self._watches:
            one.handle.remove()
        self._watches = []

    def state_dict(self) -> dict[str, Any]:
        """Return the states of all watches, in the order of the optimizers."""
        return {"watches": [one.handle.state_dict() for one in self._watches]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Keep what `state_dict` returned for the next `attach`."""
        self._saved = list(state["watches"])


@final
class ReadWatch:
    """The watch of one optimizer, whose measured steps are each read once."""

    def __init__(self, optimizer: Optimizer, every: int) -> None:
        self.optimizer, self.handle = optimizer, watch(optimizer, every)
        # The patterns for each argument of `Watch.metrics`.
        self.chosen: dict[str, Patterns] = {}
        self._step_read = 0

    def skip(self) -> None:
        """Treat everything measured so far as read."""
        self._step_read = self.handle.measured_step

    def new_metrics(self) -> dict[str, float]:
        """Return `Watch.metrics` if it has not been read yet, or else nothing."""
        if self.handle.measured_step == self._step_read:
            return {}
        self.skip()
        return self.handle.metrics(**self.chosen)


def choose(watches: Sequence[ReadWatch], argument: str, patterns: Patterns) -> None:
    """Give each watch those of the patterns that match something in it.

    Raises:
        ValueError: A pattern matches nothing in any of them.
        TypeError: The patterns are of another type.
    """
    if not isinstance(patterns, str | list | tuple):
        for one in watches:
            one.handle.metrics(**{argument: patterns})
        return
    several = [patterns] if isinstance(patterns, str) else patterns
    refusals = {pattern: [_refusal(one, argument, pattern) for one in watches] for pattern in several}
    for of_pattern in refusals.values():
        if of_pattern and None not in of_pattern:
            raise ValueError(f"watch_{of_pattern[0]}")
    for position, one in enumerate(watches):
        one.chosen[argument] = [pattern for pattern in several if refusals[pattern][position] is None]


def _refusal(one: ReadWatch, argument: str, pattern: str) -> ValueError | None:
    try:
        one.handle.metrics(**{argument: [pattern]})
    except ValueError as refusal:
        return refusal
    return None
