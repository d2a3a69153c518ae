"""Optimizers whose update is elementwise: θ ← (1-η) θ - γ u for many weights at once."""

# torch's foreach functions have no public names.
# pyright: reportPrivateImportUsage=false

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, TypeGuard

import torch
from torch import Tensor, nn

from steadydecay.groups.settings import Group, decay_of, with_references
from steadydecay.known_optimizers.update_momentum import UpdateMomentum
from steadydecay.optim.batches.dense_gradients import gradient_of, parameters_with_gradient
from steadydecay.optim.batches.elementwise_batches import batches_of
from steadydecay.optim.batches.parts import Part
from steadydecay.tensors.low_precision import add_state, is_low_precision, move_, require_deterministic

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
            for batch in batches_of(parts_of(parameters, self.state), group["foreach"]):
                weights, gradients, momenta, compensations = map(list, zip(*batch, strict=True))
                if gradients[0].dtype != momenta[0].dtype:
                    gradients = [gradient.to(momenta[0].dtype) for gradient in gradients]
                updates = self.updates(momenta, gradients, group)
                move(weights, updates, group["lr"], decay, compensations)
        return loss


def parts_of(parameters: list[Tensor], states: Mapping[Tensor, dict[str, Tensor]]) -> Iterator[Part]:
    """Each whole weight with its gradient and state."""
    for parameter in parameters:
        state = states[parameter]
        yield Part(parameter, gradient_of(parameter), state["momentum"], state.get("compensation"))


def scaled_update(update: Tensor, lr: Number) -> Tensor:
    """γu; zero at a tensor lr of zero even where u is not finite, without a branch on its value."""
    return (update * lr).where(lr != 0, 0) if isinstance(lr, Tensor) else update * lr


def is_alpha(number: Number, like: Tensor) -> TypeGuard[float]:
    """Whether it may be torch's α, which reads a tensor (waits for the device) and is rounded to a narrow dtype."""
    return not isinstance(number, Tensor) and not is_low_precision(like)


def move(
    parameters: list[Tensor], updates: list[Tensor], lr: Number, decay: Number, compensations: list[Tensor | None]
) -> None:
    """θ ← (1-η)θ - γu in place; lr = 0 is bitwise identity, whatever the updates, which are not written to.

    Args:
        parameters: of one dtype and device.
        updates: u of each.
        lr, decay: γ, η.
        compensations: of all parameters or of none; those are moved as in `steadydecay.tensors.low_precision`.
    """
    if not isinstance(lr, Tensor) and lr == 0:
        return
    if compensations[0] is not None:
        for parameter, update, compensation in zip(parameters, updates, compensations, strict=True):
            move_(parameter, scaled_update(update.float(), lr), decay, compensation)
    elif is_alpha(lr, parameters[0]) and is_alpha(decay, parameters[0]):
        descend(parameters, updates, lr, decay / lr)
    else:
        torch._foreach_mul_(parameters, 1 - decay)
        torch._foreach_sub_(parameters, [scaled_update(update, lr) for update in updates])


def descend(parameters: list[Tensor], updates: list[Tensor], lr: float, weight_decay: float) -> None:
    """θ ← θ - γ(u + λθ) in place, in which 1-γλ is not rounded: in float32 that would be a multiple of 6·10⁻⁸."""
    if weight_decay == 0:
        torch._foreach_add_(parameters, updates, alpha=-lr)
    elif is_one_block(parameters) and is_one_block(updates):
        # The same bits in one pass over memory, which takes longer to start than two over a small weight.
        torch._fused_sgd_(
            parameters,
            updates,
            [],
            weight_decay=weight_decay,
            momentum=0.0,
            lr=lr,
            dampening=0.0,
            nesterov=False,
            maximize=False,
            is_first_step=False,
        )
    else:
        torch._foreach_add_(parameters, torch._foreach_add(updates, parameters, alpha=weight_decay), alpha=-lr)


def is_one_block(tensors: list[Tensor]) -> bool:
    """Whether it is one tensor that torch's fused SGD can take, which looks neither at strides nor at a subclass."""
    first = tensors[0]
    is_plain = type(first) in (Tensor, nn.Parameter) and first.dtype in (torch.float32, torch.float64)
    is_known = first.device.type in ("cpu", "cuda") and not torch.compiler.is_compiling()
    return len(tensors) == 1 and is_plain and is_known and first.is_contiguous()
