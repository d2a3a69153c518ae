"""Renormalised AdamW (arXiv 2512.08217, Algorithm 1), for study: does u⊥ matter to the weight norm?

    θ' ← (1-η) θ - γ u,                 an AdamW step
    θ  ← θ' · |(1-η) ‖θ‖ - γ u∥| / ‖θ'‖,    u∥ = ⟨θ, u⟩ / ‖θ‖

The part u⊥ of the update perpendicular to the weight turns it, and no longer adds to its norm.
"""

from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from steadydecay.groups.settings import Group
from steadydecay.optim.adamc import AdamC
from steadydecay.optim.batches.parts import Number, parameters_with_gradient
from steadydecay.optim.fitting_state import StateKeys


class Renormalization(NamedTuple):
    """What Algorithm 1 makes of one step of one weight; 0-d tensors.

    Attributes:
        factor: of the weight after the step.
        parallel: u∥, signed: positive where the update shortens the weight.
        perpendicular: ‖u⊥‖ ≥ 0.
    """

    factor: Tensor
    parallel: Tensor
    perpendicular: Tensor


def renormalization(before: Tensor, after: Tensor, lr: Number, decay: Number) -> Renormalization:
    """From a weight before and after a step θ' = (1-η)θ - γu.

    A weight that did not move (lr = 0, or a step that a GradScaler skipped) has factor 1 and no update, bit for bit.
    A zero weight has no direction: all of the update is perpendicular, and the factor is 1, else it would stay zero.

    Args:
        before, after: θ and θ', of one shape.
        lr: γ ≥ 0.
        decay: η of the step.
    """
    before, after = _at_least_float(before), _at_least_float(after)
    norm, norm_after = torch.linalg.vector_norm(before), torch.linalg.vector_norm(after)
    direction = before / norm.where(norm != 0, 1)
    # (1-η)‖θ‖ - γu∥ is what is left of θ' along θ.
    wanted = (direction * after).sum().abs()
    has_moved = (before != after).any()
    factor = (wanted / norm_after).where(has_moved & (norm != 0) & (norm_after != 0), 1)
    update = (((1 - decay) * before - after) / lr).where(has_moved, 0)
    parallel = (direction * update).sum()
    perpendicular = torch.linalg.vector_norm(update - parallel * direction)
    return Renormalization(factor, parallel, perpendicular)


@final
class RenormalizedAdamW(AdamC):
    """AdamW after each of whose steps the perpendicular part of the update is taken out of the weight norm.

    All arguments are `AdamC`'s; `decay` is "constant" and `low_precision` "none" by default. The state of each
    parameter also holds `update_parallel` (u∥, positive where it shortens the weight) and `update_perpendicular`
    (‖u⊥‖) of its last step, 0-d tensors in units of an update. Needs a copy of the weights during the step.
    """

    def __init__(
        self, *arguments: Any, decay: str = "constant", low_precision: str = "none", **named_arguments: Any
    ) -> None:
        super().__init__(*arguments, decay=decay, low_precision=low_precision, **named_arguments)

    def state_keys(self, group: Group) -> StateKeys:
        return super().state_keys(group)._replace(measures=("update_parallel", "update_perpendicular"))

    def initial_state(self, parameter: Tensor, group: Group) -> dict[str, Any]:
        """As `AdamC`'s, and two measures."""
        dtype = torch.promote_types(parameter.dtype, torch.float32).to_real()
        zeros = (torch.zeros((), dtype=dtype, device=parameter.device) for _ in range(2))
        measures = zip(("update_parallel", "update_perpendicular"), zeros, strict=True)
        return {**super().initial_state(parameter, group), **dict(measures)}

    def step_group(self, group: Group, weight_decay: Number) -> None:
        """An AdamW step from θ to θ', and from there to θ."""
        parameters = parameters_with_gradient(group, "RenormalizedAdamW")
        befores = [parameter.detach().clone() for parameter in parameters]
        super().step_group(group, weight_decay)
        with torch.no_grad():
            for parameter, before in zip(parameters, befores, strict=True):
                state, decay = self.state[parameter], group["lr"] * weight_decay
                factor, parallel, perpendicular = renormalization(before, parameter, group["lr"], decay)
                parameter.mul_(factor)
                state["update_parallel"].copy_(parallel)
                state["update_perpendicular"].copy_(perpendicular)


def _at_least_float(x: Tensor) -> Tensor:
    """In float32 or better; a complex weight as its real view, as torch's AdamW steps it."""
    x = torch.view_as_real(x.detach()) if x.is_complex() else x.detach()
    return x.to(torch.promote_types(x.dtype, torch.float32))
