"""The lr at which the decay of each group was chosen: found at its first step, and compared with the lrs that follow."""

import warnings
from typing import Any, final

from torch import Tensor
from torch.optim import Optimizer

from steadydecay.correction.marks import fixed_reference
from steadydecay.groups.settings import Group, may_move
from steadydecay.known_optimizers.update_momentum import UpdateMomentum
from steadydecay.schedules.peaks import peak_lrs

# A schedule that comes back to its peak by recursion rounds on the way.
ABOVE = 1.001
# So many steps at a smaller share of the reference are no warm-up.
FAR_BELOW, PATIENCE = 0.1, 1000


@final
class References:
    """Of the groups with a `reference_is_fixed`; where somebody has said the reference, there is no such key.

    Args:
        optimizer: with the groups.
        remedy: a sentence: how the reader says where the decay was chosen.
    """

    def __init__(self, optimizer: Optimizer, remedy: str) -> None:
        self._optimizer, self._remedy = optimizer, remedy
        self._peaks: list[float] | None = None
        self._is_asked = False
        # Groups whose reference is the lr that they began with, which may not be the peak; and the steps and the
        # largest share of the reference that were seen of them.
        self._guessed: dict[int, tuple[int, float]] = {}
        self._has_been_above = False

    def fixed(self, index: int, momentum: UpdateMomentum, given_momentum: Any = None) -> Group:
        """What fixes the reference of a group at its first step; nothing afterwards, or while a float lr is 0."""
        group = self._optimizer.param_groups[index]
        if group.get("reference_is_fixed", True) or not may_move(group["lr"]):
            return {}
        peak = self._peak_of(index)
        if peak is None and group.get("max_lr") is None:
            self._guessed[index] = (0, 0.0)
        return fixed_reference(group, momentum, given_momentum, peak)

    def look(self) -> None:
        """Before a step: warn, once each, of an lr above the reference and of one that stays far below a guessed one."""
        if self._has_been_above and not self._guessed:
            return
        above: list[int] = []
        for index, group in enumerate(self._optimizer.param_groups):
            if (share := share_of_reference(group)) is None:
                continue
            if share > ABOVE:
                above.append(index)
            if index in self._guessed:
                steps, largest = self._guessed[index]
                self._guessed[index] = (steps + 1, max(largest, share))
        if above and not self._has_been_above:
            self._has_been_above = True
            self._warn(above, "steps above the lr at which its weight_decay counts as it was given, and decays more")
        if self._guessed and max(steps for steps, _ in self._guessed.values()) >= PATIENCE:
            below = [index for index, (steps, share) in self._guessed.items() if steps and share < FAR_BELOW]
            self._guessed = {}
            if below:
                how = f"has stayed below {FAR_BELOW:g} of it for {PATIENCE} steps, and decays as much less"
                self._warn(below, f"{how}, unless its schedule is still warming up")

    def begin_anew(self) -> None:
        """Groups have come from elsewhere: their past is not known."""
        self._peaks, self._is_asked, self._guessed = None, False, {}

    def _peak_of(self, index: int) -> float | None:
        if not self._is_asked:
            # Every scheduler of torch leaves this key. Looking for one takes a pass over all objects.
            has_scheduler = any("initial_lr" in group for group in self._optimizer.param_groups)
            self._peaks, self._is_asked = peak_lrs(self._optimizer) if has_scheduler else None, True
        # A group may have been added since.
        peak = self._peaks[index] if self._peaks and index < len(self._peaks) else 0.0
        return peak if peak > 0 else None

    def _warn(self, indices: list[int], what: str) -> None:
        groups = self._optimizer.param_groups
        of_groups = ", ".join(
            f"group {index} (lr {float(groups[index]['lr']):.3g}, reference_lr {float(groups[index]['reference_lr']):.3g})"
            for index in indices
        )
        warnings.warn(f"{type(self._optimizer).__name__}'s {of_groups} {what}. {self._remedy}", stacklevel=2)


def share_of_reference(group: Group) -> float | None:
    """The lr of the next step over a reference that nobody has said; None where the decay does not depend on it.

    None too at lr = 0, and where the lr is a tensor of an accelerator, which is not waited for.
    """
    lr = group["lr"]
    if "reference_is_fixed" not in group or (isinstance(lr, Tensor) and lr.device.type != "cpu"):
        return None
    is_replaced = "decay_replacement" in group
    rule = group.get("replaced_decay", "constant") if is_replaced else group["decay"]
    decay = (
        group["replaced_weight_decay"] if is_replaced else group.get("reference_weight_decay", group["weight_decay"])
    )
    has_decay = isinstance(decay, Tensor) or decay > 0
    depends = (rule != "constant" and has_decay) or group.get("steady_norm_sq") is not None
    return float(lr) / group["reference_lr"] or None if depends and group["reference_lr"] else None
