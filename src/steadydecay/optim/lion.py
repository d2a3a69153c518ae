"""Lion (arXiv 2302.06675) with a weight decay that may follow the effective learning rate.

    θ ← (1-η) θ - γ sign(β₁ m + (1-β₁) g)
    m ← β₂ m + (1-β₂) g

η = γλ, or η ∝ γ_eff² with γ_eff of Lion's two betas (`steadydecay.theory.filters.lion_average`).
"""

# torch's foreach functions have no public names.
# pyright: reportPrivateImportUsage=false

from typing import final

import torch
from torch.optim.optimizer import ParamsT

from steadydecay.groups.settings import Group
from steadydecay.known_optimizers.update_momentum import LION
from steadydecay.optim.batches.parts import Number, StepBatch
from steadydecay.optim.decoupled_step import DecoupledOptimizer, average_, averages_of, move


@final
class Lion(DecoupledOptimizer):
    """Sign of an interpolated momentum, with decoupled weight decay.

    Args:
        params: tensors, named tensors or groups. Groups may set any argument below but foreach, and reference_lr,
            reference_momentum (the betas where weight_decay was chosen; by default those at the peak), role and
            param_names. A group with role "output" keeps decay "constant" unless it names a rule.
        lr: γ ≥ 0, the size of every entry of an update. A 0-d tensor may stand for lr, a beta and weight_decay.
        betas: β₁ of the direction and β₂ of the momentum, in [0, 1).
        weight_decay: λ ≥ 0 at the reference; λ · lr < 1.
        decay: rule for λ under a schedule: "constant" (λ), "corrected" (λ ∝ γ_eff²/γ, for η ≪ 1-β₂) or "exact".
            With β₂ = 0.99 the second is off by 20 % at η = 0.02; the third is not.
        steady_norm_sq: the wanted E‖θ‖² per entry instead of weight_decay; > lr².
        low_precision: "compensated" keeps what rounding takes off bfloat16 and float16 weights (docs/low_precision.md),
            "none" loses it; other dtypes are not touched.
        foreach: False takes one weight at a time; else small weights are taken together, which is faster.

    Raises:
        ValueError: an argument outside its range, or two that exclude each other. Nothing has changed then.
    """

    update_momentum = LION

    def __init__(
        self,
        params: ParamsT,
        lr: Number = 1e-4,
        betas: tuple[Number, Number] = (0.9, 0.99),
        weight_decay: Number = 0.0,
        *,
        decay: str = "constant",
        steady_norm_sq: float | None = None,
        low_precision: str = "compensated",
        foreach: bool | None = None,
    ) -> None:
        defaults: Group = {
            "lr": lr,
            "betas": betas,
            "weight_decay": weight_decay,
            "decay": decay,
            "steady_norm_sq": steady_norm_sq,
            "low_precision": low_precision,
            "foreach": foreach,
        }
        super().__init__(params, defaults)

    def advance(self, batch: StepBatch, group: Group, decay: Number) -> None:
        beta1, beta2 = group["betas"]
        directions = averages_of(batch.averages, batch.gradients, beta1)
        average_(batch.averages, batch.gradients, beta2)
        torch._foreach_sign_(directions)
        move(batch, directions, group["lr"], decay)
