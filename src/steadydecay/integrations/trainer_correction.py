"""`correct_weight_decay` for optimizers that a trainer builds, wraps, reloads and starts again."""

from collections.abc import Sequence
from typing import final

from torch import nn
from torch.optim import Optimizer

from steadydecay.correction.weight_decay_correction import WeightDecayCorrection, correct_weight_decay
from steadydecay.groups.selection import Where, selected_groups
from steadydecay.integrations.output_groups import groups_beside_output
from steadydecay.known_optimizers.wrappers import unwrapped


@final
class TrainerCorrection:
    """One correction of each optimizer of a trainer, however often its training starts.

    Args:
        rule: as in `correct_weight_decay`; None attaches nothing.
        where: likewise; None asks the groups' roles and then the model which is the output layer.
        reference_lr: likewise.
    """

    def __init__(self, rule: str | None, where: Where, reference_lr: float | None) -> None:
        self._rule, self._where, self._reference_lr = rule, where, reference_lr
        self._handles: list[tuple[Optimizer, WeightDecayCorrection]] = []

    def attach(self, optimizers: Sequence[Optimizer], model: nn.Module) -> None:
        """Attach where it is not yet; optimizers of an earlier training, and those without a group to correct, go free.

        Raises:
            ValueError: as `correct_weight_decay`, or no optimizer has a group to correct.
        """
        if self._rule is None:
            return
        present = [unwrapped(optimizer) for optimizer in optimizers]
        # A training that was interrupted has left its hooks, and maybe loaded a checkpoint since: they go on.
        if [optimizer for optimizer, _ in self._handles] == present:
            return
        self.remove()
        chosen = [(optimizer, self._where_in(optimizer, model)) for optimizer in present]
        if len(chosen) > 1:
            chosen = [pair for pair in chosen if _selects_any(*pair)] or chosen
        for optimizer, where in chosen:
            handle = correct_weight_decay(optimizer, self._rule, where, self._reference_lr)
            self._handles.append((optimizer, handle))

    def remove(self) -> None:
        """Remove every correction; see `WeightDecayCorrection.remove`."""
        for _, handle in self._handles:
            handle.remove()
        self._handles = []

    def _where_in(self, optimizer: Optimizer, model: nn.Module) -> Where:
        return groups_beside_output(optimizer.param_groups, model) if self._where is None else self._where


def _selects_any(optimizer: Optimizer, where: Where) -> bool:
    try:
        return bool(selected_groups(optimizer.param_groups, where))
    except ValueError:
        return False
