"""Renormalised AdamW (arXiv 2512.08217, Algorithm 1), for study: does u⊥ matter to the weight norm?

    θ' ← (1-η) θ - γ u,                 an AdamW step
    θ  ← θ' · |(1-η) ‖θ‖ - γ u∥| / ‖θ'‖,    u∥ = ⟨θ, u⟩ / ‖θ‖

The part u⊥ of the update perpendicular to the weight only turns it, and no longer adds to its norm.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from steadydecay.groups.settings import Group
from steadydecay.optim.adamc import AdamC
from steadydecay.optim.batches.parts import Number, parameters_with_gradient
from steadydecay.optim.fitting_state import StateKeys
from steadydecay.parallel.shards import local_part, sharding_of, sum_over_ranks


class Renormalization(NamedTuple):
    """What Algorithm 1 computes in one step of one weight, as 0-d tensors.

    Attributes:
        factor: The factor for the weight after the step.
        parallel: u∥ with its sign, which is positive if the update shortens the weight.
        perpendicular: ‖u⊥‖ ≥ 0.
    """

    factor: Tensor
    parallel: Tensor
    perpendicular: Tensor


def renormalization(before: Tensor, after: Tensor, lr: Number, decay: Number) -> Renormalization:
    """Compute Algorithm 1 from a weight before and after a step θ' = (1-η)θ - γu.

    A weight that did not move (at lr = 0, or in a step that a GradScaler skipped) has factor 1 and no update, bit for
    bit. A zero weight has no direction: all of the update is perpendicular and the factor is 1, because otherwise it
    would stay zero.

    Args:
        before, after: θ and θ', of one shape.
        lr: γ ≥ 0.
        decay: η of the step.
    """
    return renormalization_of(renormalization_sums(before, after, decay), lr, decay)


def renormalization_sums(before: Tensor, after: Tensor, decay: Number) -> Tensor:
    """Return ‖θ‖², ‖θ'‖², ⟨θ, γu⟩, ‖γu‖² and the number of moved entries (5,), which add up over parts of a weight."""
    has_moved = (before != after).sum()
    before, after = _precise(before), _precise(after)
    scaled_update = (1 - decay) * before - after
    products = ((before, before), (after, after), (before, scaled_update), (scaled_update, scaled_update))
    return torch.stack([*((one * other).sum() for one, other in products), has_moved.to(before.dtype)])


def renormalization_of(sums: Tensor, lr: Number, decay: Number) -> Renormalization:
    """Return `renormalization` from the `renormalization_sums` of a whole weight."""
    square, square_after, inner, update_sq, moved_entries = sums.unbind()
    norm, norm_after, has_moved = square.sqrt(), square_after.sqrt(), moved_entries != 0
    along = (inner / norm).where(norm != 0, 0)
    # The component of θ' along θ.
    wanted = ((1 - decay) * norm - along).abs()
    factor = (wanted / norm_after).where(has_moved & (norm != 0) & (norm_after != 0), 1)
    perpendicular = (update_sq - along.square()).clamp(min=0).sqrt()
    return Renormalization(factor, (along / lr).where(has_moved, 0), (perpendicular / lr).where(has_moved, 0))


@final
class RenormalizedAdamW(AdamC):
    """AdamW that removes the perpendicular part of the update from the weight norm after each step.

    This is Algorithm 1 of arXiv 2512.08217, for study. The state of each parameter also holds `update_parallel` (u∥,
    positive if it shortens the weight) and `update_perpendicular` (‖u⊥‖) of its last step, as 0-d tensors in units of
    an update. A step needs a copy of the weights.

    Args:
        arguments, named_arguments: As in `AdamC`.
        decay: The rule for λ under a schedule, as in `AdamC`; the default here is "constant".
        low_precision: As in `AdamC`; the default here is "none".

    Raises:
        ValueError: As in `AdamC`.
    """

    def __init__(
        self, *arguments: Any, decay: str = "constant", low_precision: str = "none", **named_arguments: Any
    ) -> None:
        super().__init__(*arguments, decay=decay, low_precision=low_precision, **named_arguments)

    def state_keys(self, group: Group) -> StateKeys:
        return super().state_keys(group)._replace(measures=("update_parallel", "update_perpendicular"))

    def initial_state(self, parameter: Tensor, group: Group) -> dict[str, Any]:
        """Return the state of `AdamC` and two measures."""
        dtype = torch.promote_types(parameter.dtype, torch.float32).to_real()
        zeros = (torch.zeros((), dtype=dtype, device=parameter.device) for _ in range(2))
        measures = zip(("update_parallel", "update_perpendicular"), zeros, strict=True)
        return {**super().initial_state(parameter, group), **dict(measures)}

    def step_group(self, group: Group, weight_decay: Number) -> None:
        """Perform an AdamW step from θ to θ', and renormalise θ' to the next θ."""
        parameters = parameters_with_gradient(group, "RenormalizedAdamW")
        with torch.no_grad():
            befores = {parameter: local_part(parameter).clone() for parameter in parameters}
        super().step_group(group, weight_decay)
        with torch.no_grad():
            self._renormalize(befores, group["lr"], group["lr"] * weight_decay)

    def _renormalize(self, befores: Mapping[Tensor, Tensor], lr: Number, decay: Number) -> None:
        """Renormalise θ', with one collective for each process group that holds parts of some weights."""
        pairs = ((before, local_part(weight)) for weight, before in befores.items())
        sums = [renormalization_sums(before, after, decay) for before, after in pairs]
        shardings = map(sharding_of, befores)
        sum_over_ranks((one.groups(), [part]) for one, part in zip(shardings, sums, strict=True) if one is not None)
        for weight, of_weight in zip(befores, sums, strict=True):
            factor, parallel, perpendicular = renormalization_of(of_weight, lr, decay)
            local_part(weight).mul_(factor)
            self.state[weight]["update_parallel"].copy_(parallel)
            self.state[weight]["update_perpendicular"].copy_(perpendicular)


def _precise(x: Tensor) -> Tensor:
    """Return it in float64, because ‖u⊥‖² is a difference; a complex weight as its real view, as in torch's AdamW."""
    x = torch.view_as_real(x.detach()) if x.is_complex() else x.detach()
    # Apple's GPUs do not have float64.
    return x.float() if x.device.type == "mps" else x.double()
