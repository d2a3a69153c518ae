"""Warn a training loop that writes the weight_decay of a corrected group, where it has no effect."""

import warnings
from collections.abc import Sequence
from typing import final

from torch import Tensor

from steadydecay.correction.rules import HYPERBALL
from steadydecay.groups.settings import Group


@final
class WrittenDecays:
    """The value that the correction last wrote into each group whose weight_decay is a float; tensors are not read."""

    def __init__(self) -> None:
        self._written: dict[int, float] = {}
        self._has_warned = False

    def look(self, groups: Sequence[Group]) -> None:
        """Before a step, warn once if somebody else has written a value since."""
        if self._has_warned:
            return
        for index, written in self._written.items():
            held = groups[index].get("weight_decay", written)
            # The correction writes a float, so a value of another type must come from elsewhere.
            if type(held) is not float or held != written:
                self._has_warned = True
                warnings.warn(
                    f"weight_decay of group {index} was set to {held!r} after the correction had written {written!r}. "
                    f"This has no effect, because the correction writes it before each step. {_remedy(groups[index])}",
                    stacklevel=2,
                )
                return

    def note(self, index: int, group: Group) -> None:
        """Remember the value that the correction has written into a group."""
        held = group.get("weight_decay")
        if held is not None and not isinstance(held, Tensor):
            self._written[index] = held

    def begin_anew(self) -> None:
        """Forget all values, because groups have been loaded or added."""
        self._written.clear()


def _remedy(group: Group) -> str:
    replacement = group.get("decay_replacement", "")
    if replacement == HYPERBALL:
        return "The rule 'hyperball' has no decay, and holds the norms in group['hyperball_norms'] instead"
    key = "replaced_weight_decay" if replacement else "reference_weight_decay"
    where = "" if replacement and "replaced_decay" not in group else ", the coefficient at reference_lr"
    return f"A schedule of the weight decay must write group[{key!r}]{where}"
