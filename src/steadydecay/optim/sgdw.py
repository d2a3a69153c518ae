"""SGD with decoupled weight decay (arXiv 1711.05101), which may follow the effective learning rate.

    b ← β b + g
    θ ← (1-η) θ - γ b          or g + β b with Nesterov momentum

The momentum is that of torch.optim.SGD with dampening 0, a sum and not an average: one minibatch adds γ/(1-β) in all.
η = γλ, or η ∝ (γ/(1-β))²: `steadydecay.known_optimizers.update_momentum.heavy_ball_sum`.
"""

# torch's foreach functions are not public.
# pyright: reportPrivateImportUsage=false

from typing import final

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from steadydecay.groups.settings import Group
from steadydecay.known_optimizers.update_momentum import HEAVY_BALL
from steadydecay.optim.batches.parts import Number, StepBatch
from steadydecay.optim.decoupled_step import DecoupledOptimizer, is_alpha, move


def sums_of(sums: list[Tensor], gradients: list[Tensor], momentum: Number) -> list[Tensor]:
    """Return βb + g for each, as new tensors."""
    if is_alpha(momentum, sums[0]):
        return list(torch._foreach_add(gradients, sums, alpha=momentum))
    summed = list(torch._foreach_mul(sums, momentum))
    torch._foreach_add_(summed, gradients)
    return summed


def sum_(sums: list[Tensor], gradients: list[Tensor], momentum: Number) -> None:
    """Compute b ← βb + g for each, in place."""
    if is_alpha(momentum, sums[0]) and (len(sums) == 1 or sums[0].is_cpu):
        # This takes one pass over memory, unlike any foreach function.
        for total, gradient in zip(sums, gradients, strict=True):
            torch.add(gradient, total, alpha=momentum, out=total)
    else:
        torch._foreach_copy_(sums, sums_of(sums, gradients, momentum))


@final
class SGDW(DecoupledOptimizer):
    """torch.optim.SGD (with dampening 0) with decoupled weight decay instead of L2 (arXiv 1711.05101).

    Args:
        params: Tensors, named tensors or groups. Groups may set any argument below except foreach, and also
            reference_lr, reference_momentum (the values at which weight_decay was chosen, by default those at the
            peak), role and param_names. A group with role "output" keeps decay "constant" unless it names a rule.
        lr: The learning rate γ ≥ 0. lr, momentum and weight_decay may be 0-d tensors.
        momentum: β in [0, 1) of the sum of gradients.
        nesterov: Whether the momentum looks ahead by one gradient.
        weight_decay: λ ≥ 0 at the reference, with λ · lr < 1. In torch's L2 the pull on the weights passes through the
            momentum too, so the same strength here is L2/(1-β).
        decay: The rule for λ under a schedule: "constant" (λ), "corrected" (λ ∝ γ_eff²/γ with γ_eff = γ/(1-β)) or
            "exact".
        steady_norm_sq: The desired E‖θ‖²/E‖g‖², above that of one step, lr²/(1-β²), to be given instead of
            weight_decay.
        low_precision: "compensated" keeps what rounding removes from bfloat16 and float16 weights
            (docs/low_precision.md), and "none" loses it. Other dtypes are not affected.
        foreach: Pass False to step one weight at a time. Otherwise small weights are stepped together, which is faster.

    Raises:
        ValueError: An argument is outside its range, or two exclude each other. Nothing has changed.
    """

    update_momentum = HEAVY_BALL

    def __init__(
        self,
        params: ParamsT,
        lr: Number = 1e-3,
        momentum: Number = 0.0,
        *,
        nesterov: bool = False,
        weight_decay: Number = 0.0,
        decay: str = "constant",
        steady_norm_sq: float | None = None,
        low_precision: str = "compensated",
        foreach: bool | None = None,
    ) -> None:
        defaults: Group = {
            "lr": lr,
            "momentum": momentum,
            "nesterov": nesterov,
            "weight_decay": weight_decay,
            "decay": decay,
            "steady_norm_sq": steady_norm_sq,
            "low_precision": low_precision,
            "foreach": foreach,
        }
        super().__init__(params, defaults)

    def advance(self, batch: StepBatch, group: Group, decay: Number) -> None:
        sums, gradients, beta = batch.averages, batch.gradients, group["momentum"]
        sum_(sums, gradients, beta)
        updates = sums_of(sums, gradients, beta) if group["nesterov"] else sums
        move(batch, updates, group["lr"], decay)
