"""Optimizers whose update is elementwise: θ ← (1-η) θ - γ u for many weights at once."""

# torch's foreach functions have no public names.
# pyright: reportPrivateImportUsage=false

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from steadydecay.group_settings import Group, decay_of, with_references
from steadydecay.low_precision import add_state, move_, require_deterministic
from steadydecay.optim.dense_gradients import gradient_of, parameters_with_gradient
from steadydecay.update_momentum import UpdateMomentum

Number = float | Tensor


class DecoupledOptimizer(torch.optim.Optimizer):
    """One momentum buffer per weight, decoupled decay by rule; what the update is, is left to the optimizer.

    Groups carry what `with_references` asks for, low_precision and foreach.
    """

    update_momentum: ClassVar[UpdateMomentum]

    @abstractmethod
    def updates(self, momenta: list[Tensor], gradients: list[Tensor], group: Group) -> list[Tensor]:
        """u of each weight; moves the momenta in place, and writes to nothing else."""

    def add_param_group(self, param_group: Group) -> None:
        """Check a group, fix its references, and give its parameters their state."""
        group = with_references(param_group, self.defaults, self.update_momentum)
        require_deterministic(group["low_precision"])
        super().add_param_group(group)
        for parameter in group["params"]:
            self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        add_state(self.state, group["params"], group["low_precision"])

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; returns what `closure`, which recomputes the loss, returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        # A list first: an illegal hyperparameter or gradient in a late group must not leave early groups changed.
        work = [
            (group, parameters_with_gradient(group, type(self).__name__), decay_of(group, self.update_momentum))
            for group in self.param_groups
        ]
        for group, parameters, decay in work:
            for batch in batches_of(parameters, group["foreach"]):
                momenta = [self.state[parameter]["momentum"] for parameter in batch]
                compensations = [self.state[parameter].get("compensation") for parameter in batch]
                gradients = [gradient_of(parameter) for parameter in batch]
                updates = self.updates(momenta, gradients, group)
                move(batch, updates, group["lr"], decay, compensations)
        return loss


def batches_of(parameters: list[Tensor], foreach: bool | None) -> list[list[Tensor]]:
    """All in one list for foreach, else lists of one, which need temporaries for one tensor at a time.

    Args:
        parameters: of one group.
        foreach: None is True where a parameter is on a GPU.
    """
    if foreach is None:
        foreach = any(parameter.is_cuda for parameter in parameters)
    return [parameters] if foreach and parameters else [[parameter] for parameter in parameters]


def scaled_update(update: Tensor, lr: Number) -> Tensor:
    """γu; zero at a tensor lr of zero even where u is not finite, without a branch on its value."""
    return (update * lr).where(lr != 0, 0) if isinstance(lr, Tensor) else update * lr


def move(
    parameters: list[Tensor], updates: list[Tensor], lr: Number, decay: Number, compensations: list[Tensor | None]
) -> None:
    """θ ← (1-η)θ - γu in place; lr = 0 is bitwise identity, whatever the updates, which are not written to.

    A parameter with a compensation is moved as in `steadydecay.low_precision`.
    """
    if not isinstance(lr, Tensor) and lr == 0:
        return
    plain: list[tuple[Tensor, Tensor]] = []
    for parameter, update, compensation in zip(parameters, updates, compensations, strict=True):
        if compensation is None:
            plain.append((parameter, update))
        else:
            move_(parameter, scaled_update(update.float(), lr), decay, compensation)
    if plain:
        _move_all([parameter for parameter, _ in plain], [update for _, update in plain], lr, decay)


def _move_all(parameters: list[Tensor], updates: list[Tensor], lr: Number, decay: Number) -> None:
    torch._foreach_mul_(parameters, 1 - decay)
    if isinstance(lr, Tensor):
        torch._foreach_sub_(parameters, [scaled_update(update, lr) for update in updates])
    else:
        torch._foreach_add_(parameters, updates, alpha=-lr)
