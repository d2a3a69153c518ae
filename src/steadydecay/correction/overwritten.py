"""A loop that writes the weight_decay of a corrected group is told that it has no effect there."""

import warnings
from collections.abc import Sequence
from typing import final

from torch import Tensor

from steadydecay.correction.rules import HYPERBALL
from steadydecay.groups.settings import Group


@final
class WrittenDecays:
    """What the verb last wrote into groups whose weight_decay is a float, by index; tensors are not read."""

    def __init__(self) -> None:
        self._written: dict[int, float] = {}
        self._has_warned = False

    def look(self, groups: Sequence[Group]) -> None:
        """Before a step: warn once if somebody else has written since."""
        if self._has_warned:
            return
        for index, written in self._written.items():
            held = groups[index].get("weight_decay", written)
            # What the correction writes is a float; one of another type needs no look at its value.
            if type(held) is not float or held != written:
                self._has_warned = True
                warnings.warn(
                    f"weight_decay of group {index} was set to {held!r} after the correction had written {written!r}. "
                    f"It has no effect, for the correction writes it before each step. {_remedy(groups[index])}",
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


def _remedy(group: Group) -> str:
    replacement = group.get("decay_replacement", "")
    if replacement == HYPERBALL:
        return "Under 'hyperball' there is no decay: the norms in group['hyperball_norms'] are what it holds"
    key = "replaced_weight_decay" if replacement else "reference_weight_decay"
    where = "" if replacement and "replaced_decay" not in group else ", the coefficient at reference_lr"
    return f"Let the schedule of the weight decay write group[{key!r}]{where}"
