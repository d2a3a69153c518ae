"""Lion (arXiv 2302.06675) with a weight decay that may follow the effective learning rate.

    θ ← (1-η) θ - γ sign(β₁ m + (1-β₁) g)
    m ← β₂ m + (1-β₂) g

η = γλ, or η ∝ γ_eff² with γ_eff of Lion's two betas (`steadydecay.theory.filters.lion_average`).
"""

# torch's foreach functions are not public.
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
    """Lion, the sign of an interpolated momentum (arXiv 2302.06675), with decoupled weight decay.

    Args:
        params: Tensors, named tensors or groups. Groups may set any argument below except foreach, and also
            reference_lr, reference_momentum (the betas at which weight_decay was chosen, by default those at the peak),
            role and param_names. A group with role "output" keeps decay "constant" unless it names a rule.
        lr: The learning rate γ ≥ 0, the size of every entry of an update. lr, each beta and weight_decay may be 0-d
            tensors.
        betas: β₁ of the direction and β₂ of the momentum, both in [0, 1).
        weight_decay: λ ≥ 0 at the reference, with λ · lr < 1.
        decay: The rule for λ under a schedule: "constant" (λ), "corrected" (λ ∝ γ_eff²/γ, for η ≪ 1-β₂) or "exact".
            With β₂ = 0.99, "corrected" is off by 20 % at η = 0.02 and "exact" is not.
        steady_norm_sq: The desired E‖θ‖² per entry, above lr², to be given instead of weight_decay.
        low_precision: "compensated" keeps what rounding removes from bfloat16 and float16 weights
            (docs/low_precision.md), and "none" loses it. Other dtypes are not affected.
        foreach: Pass False to step one weight at a time. Otherwise small weights are stepped together, which is faster.

    Raises:
        ValueError: An argument is outside its range, or two exclude each other. Nothing has changed.
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
