"""A loop that writes the weight_decay of a corrected group is told that it has no effect there."""

import warnings
from collections.abc import Sequence
from typing import final

from torch import Tensor

from steadydecay.groups.settings import Group


@final
class WrittenDecays:
    """What the verb last wrote into groups whose weight_decay is a float, by index; tensors are not looked at."""

    def __init__(self) -> None:
        self._written: dict[int, float] = {}
        self._has_warned = False

    def look(self, groups: Sequence[Group]) -> None:
        """Before a step: warn once if somebody else has written since."""
        if self._has_warned:
            return
        for index, written in self._written.items():
            held = groups[index].get("weight_decay", written)
            if not isinstance(held, Tensor) and held != written:
                self._has_warned = True
                warnings.warn(
                    f"weight_decay of group {index} was set to {held!r} after the correction had written {written!r}. "
                    f"It has no effect, for the correction writes it before each step, from reference_weight_decay. "
                    f"Let the schedule of the weight decay write group['reference_weight_decay'], the coefficient at "
                    f"reference_lr",
                    stacklevel=2,
                )
                return

    def note(self, index: int, group: Group) -> None:
        """The verb has written into a group."""
        held = group.get("weight_decay")
        if held is not None and not isinstance(held, Tensor):
            self._written[index] = held

    def begin_anew(self) -> None:
        """Groups have come from elsewhere."""
        self._written.clear()
