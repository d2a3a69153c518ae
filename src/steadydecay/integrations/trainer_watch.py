"""`watch` for optimizers that a trainer builds, wraps, reloads and starts again."""

from collections.abc import Sequence
from typing import Any, final

from torch.optim import Optimizer

from steadydecay.known_optimizers.wrappers import unwrapped
from steadydecay.monitor.chosen import Patterns
from steadydecay.monitor.watch import watch


@final
class TrainerWatch:
    """One watch of each optimizer of a trainer, however often its training starts.

    Args:
        every: as in `watch`; None attaches nothing.
        layers, measures, groups: which metrics, as in `Watch.metrics`; a pattern must match in one optimizer at least.
    """

    def __init__(
        self, every: int | None, layers: Patterns = None, measures: Patterns = None, groups: Patterns = None
    ) -> None:
        self._every = every
        self._wanted: dict[str, Patterns] = {"layers": layers, "measures": measures, "groups": groups}
        self._watches: list[ReadWatch] = []
        self._saved: list[dict[str, Any]] = []

    def attach(self, optimizers: Sequence[Optimizer]) -> None:
        """Attach where it is not yet, with the state that was loaded; optimizers of an earlier training go free.

        Raises:
            ValueError: as `watch`, or a pattern that matches nothing in any optimizer. Nothing is watched then.
            TypeError: patterns of another type.
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
            # Now, not when a step has been measured: a pattern that is wrong must not end a training.
            for argument, patterns in self._wanted.items():
                choose(watches, argument, patterns)
        except (ValueError, TypeError):
            for one in watches:
                one.handle.remove()
            raise
        return watches

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
        # Patterns by the arguments of `Watch.metrics`.
        self.chosen: dict[str, Patterns] = {}
        self._step_read = 0

    def skip(self) -> None:
        """Let what has been measured so far count as read."""
        self._step_read = self.handle.measured_step

    def new_metrics(self) -> dict[str, float]:
        """What `Watch.metrics` has that was not read yet; else nothing."""
        if self.handle.measured_step == self._step_read:
            return {}
        self.skip()
        return self.handle.metrics(**self.chosen)


def choose(watches: Sequence[ReadWatch], argument: str, patterns: Patterns) -> None:
    """Let each watch have those of the patterns that match something of it.

    Raises:
        ValueError: a pattern that matches nothing in any of them.
        TypeError: patterns of another type.
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
