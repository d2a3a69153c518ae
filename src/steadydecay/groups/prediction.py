"""What theory predicts for the parameters of an optimizer's group at their next step: decay and steady-state norm."""

import math
from collections.abc import Mapping
from typing import Any

import torch

from steadydecay.groups.settings import ReadsMomentum, decay_of
from steadydecay.known_optimizers.known_optimizer import KnownOptimizer
from steadydecay.known_optimizers.table import ADAM, known_optimizer
from steadydecay.known_optimizers.update_scale import polar_scale
from steadydecay.known_optimizers.wrappers import owner_of
from steadydecay.norms import LmoBlock, norm_for
from steadydecay.theory import steady_norm_sq


def stepped_by(optimizer: torch.optim.Optimizer, group: Mapping[str, Any]) -> KnownOptimizer:
    """Return the entry of the optimizer that steps a group, which may be in a chain that holds several as `optimizers`.

    Raises:
        LookupError: The optimizer is not known, or its momentum is not.
    """
    known = known_optimizer(owner_of(optimizer, group), group)
    if known is None or known.momentum is None:
        raise LookupError(
            f"{type(owner_of(optimizer, group)).__name__} is not known; register it with steadydecay.register_optimizer"
        )
    return known


def step_decay(group: Mapping[str, Any], known: ReadsMomentum) -> float:
    """Return η of the group's next step, by its rule or else lr · weight_decay; a 0-d tensor if either is one."""
    is_by_rule = "decay" in group and "reference_lr" in group
    return decay_of(group, known) if is_by_rule else group["lr"] * group["weight_decay"]


def applied_decay(group: Mapping[str, Any], known: ReadsMomentum) -> float:
    """Return `step_decay` as a number on the host."""
    return float(step_decay(group, known))


def predicted_norm_sq(
    group: Mapping[str, Any],
    shape: tuple[int, ...],
    known: KnownOptimizer,
    measured_update_norm_sq: float | None = None,
) -> float:
    """Return E‖θ‖_F² of one parameter at the steady state of the group's present lr, decay and momentum.

    It is infinite without decay, and NaN if the decay is L2 or if the size of an update is neither known nor measured.

    Args:
        group: A group of an optimizer.
        shape: The shape of the parameter.
        known: The entry of the optimizer that steps the group.
        measured_update_norm_sq: E‖u‖_F² as measured in training, to replace the theoretical value.
    """
    decay = applied_decay(group, known)
    if decay == 0:
        return math.inf
    if group.get("decoupled_weight_decay") is False:
        return math.nan
    blocks, lr, average = (
        update_blocks(group, shape, known),
        float(group["lr"]),
        known.correlating_filter(group),
    )
    steady = [steady_norm_sq(lr, decay, average, lmo=lmo) for lmo, _ in blocks]
    sizes = [norm_sq for _, norm_sq in blocks]
    if measured_update_norm_sq is not None and blocks:
        expected = math.fsum(sizes)
        sizes = [measured_update_norm_sq * (size / expected if len(sizes) > 1 else 1.0) for size in sizes]
    return math.fsum(norm_sq * size for norm_sq, size in zip(steady, sizes, strict=True))


def update_blocks(group: Mapping[str, Any], shape: tuple[int, ...], known: KnownOptimizer) -> list[LmoBlock]:
    """Return what theory expects of one parameter's update u in θ ← (1-η)θ - γu: its laws of correlation and E‖u‖_F² of
    each.

    If the group has a norm, these are the norm's own. Otherwise entries have size 1 for a sign (Lion), and for Adam the
    size that an average leaves of 1. The size is NaN if it is that of the gradients (SGD), or if nothing says how Muon
    scales a matrix.
    """
    if "norm" in group:
        return norm_for(group["norm"], len(shape)).lmo_blocks(shape)
    if known.momentum is None:
        return [LmoBlock("linear", math.nan)]
    if known.sized_by == "sign":
        return [LmoBlock("sign", float(math.prod(shape)))]
    if known.sized_by == "second moment":
        return [LmoBlock("linear", math.prod(shape) * known.correlating_filter(group).variance)]
    if known.sized_by != "polar factor" or len(shape) < 2:
        return [LmoBlock("linear", math.nan)]
    rows, columns = shape[0], math.prod(shape[1:])
    factor_sq = polar_scale(group, rows, columns) ** 2
    return [LmoBlock(("spectral", rows, columns), factor_sq * min(rows, columns))]


def update_norm_sq(group: Mapping[str, Any], shape: tuple[int, ...], known: KnownOptimizer = ADAM) -> float:
    """Return E‖u‖_F² that theory expects of one parameter's update, as in `update_blocks`."""
    return math.fsum(norm_sq for _, norm_sq in update_blocks(group, shape, known))
