"""SGD with decoupled weight decay (arXiv 1711.05101), which may follow the effective learning rate.

    b ← β b + g
    θ ← (1-η) θ - γ b          or g + β b with Nesterov momentum

Momentum is torch.optim.SGD's with dampening 0: the sum, not the average, so that one minibatch adds γ/(1-β) in all.
η = γλ, or η ∝ (γ/(1-β))²: `steadydecay.known_optimizers.update_momentum.heavy_ball_sum`.
"""

# torch's foreach functions have no public names.
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
    """βb + g of each, as new tensors."""
    if is_alpha(momentum, sums[0]):
        return list(torch._foreach_add(gradients, sums, alpha=momentum))
    summed = list(torch._foreach_mul(sums, momentum))
    torch._foreach_add_(summed, gradients)
    return summed


def sum_(sums: list[Tensor], gradients: list[Tensor], momentum: Number) -> None:
    """b ← βb + g of each, in place."""
    if is_alpha(momentum, sums[0]) and (len(sums) == 1 or sums[0].is_cpu):
        # One pass over memory, which no foreach function makes.
        for total, gradient in zip(sums, gradients, strict=True):
            torch.add(gradient, total, alpha=momentum, out=total)
    else:
        torch._foreach_copy_(sums, sums_of(sums, gradients, momentum))


@final
class SGDW(DecoupledOptimizer):
    """torch.optim.SGD (dampening 0) with decoupled weight decay in place of L2.

    Args:
        params: tensors, named tensors or groups. Groups may set any argument below but foreach, and reference_lr,
            reference_momentum (where weight_decay was chosen; by default those at the peak), role and
            param_names. A group with role "output" keeps decay "constant" unless it names a rule.
        lr: γ ≥ 0. A 0-d tensor may stand for lr, momentum and weight_decay.
        momentum: β in [0, 1), of the sum of gradients.
        nesterov: look ahead by one gradient.
        weight_decay: λ ≥ 0 at the reference; λ · lr < 1. Coming from torch's L2, whose pull on the weights passes
            through the momentum too, the same strength is L2/(1-β).
        decay: rule for λ under a schedule: "constant" (λ), "corrected" (λ ∝ γ_eff²/γ, γ_eff = γ/(1-β)) or "exact".
        steady_norm_sq: the wanted E‖θ‖²/E‖g‖² instead of weight_decay; above that of a step, lr²/(1-β²).
        low_precision: "compensated" keeps what rounding takes off bfloat16 and float16 weights (docs/low_precision.md),
            "none" loses it; other dtypes are not touched.
        foreach: False takes one weight at a time; else small weights are taken together, which is faster.

    Raises:
        ValueError: an argument outside its range, or two that exclude each other. Nothing has changed then.
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
