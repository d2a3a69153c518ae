"""`correct_weight_decay` for optimizers that a trainer creates, wraps, reloads and restarts."""

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
    """One correction for each optimizer of a trainer, however often its training starts.

    Args:
        rule: As in `correct_weight_decay`. None attaches nothing.
        where: As in `correct_weight_decay`. None finds the output layer by the groups' roles, or else by the model.
        reference_lr: As in `correct_weight_decay`.
    """

    def __init__(self, rule: str | None, where: Where, reference_lr: float | None) -> None:
        self._rule, self._where, self._reference_lr = rule, where, reference_lr
        self._handles: list[tuple[Optimizer, WeightDecayCorrection]] = []

    def attach(self, optimizers: Sequence[Optimizer], model: nn.Module) -> None:
        """Attach the correction where it is missing. Optimizers of an earlier training, or without a group to correct,
        are released.

        Raises:
            ValueError: As in `correct_weight_decay`, or if no optimizer has a group to correct.
        """
        if self._rule is None:
            return
        present = [unwrapped(optimizer) for optimizer in optimizers]
        # An interrupted training has left its hooks, and may have loaded a checkpoint since. They continue.
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
        """Remove every correction, as `WeightDecayCorrection.remove` does."""
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
