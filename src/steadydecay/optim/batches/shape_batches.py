"""Steps whose update needs a whole matrix: weights of one shape are stepped together, in lanes if that is faster."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from steadydecay.norms import is_row_wise, norm_for
from steadydecay.norms.protocol import LmoCost, Norm
from steadydecay.optim.batches.alike_parts import AlikeParts, by_shape, workspace_of
from steadydecay.optim.batches.lanes import lanes_for, run_in_lanes
from steadydecay.optim.batches.parts import Advance, Part, PartsOfGroup, batch_of

# The assumed cost of a norm that does not say: a stack of gradients, and its lmo.
BYTES_PER_ENTRY = 8


def in_shape_batches(groups: Sequence[PartsOfGroup], advance: Advance) -> None:
    """Pass every part to `advance` once, in batches of one shape, with gradients in the dtype of the averages.

    Batches are as large as the group's "workspace_bytes" allows. If lanes are faster, `advance` runs in several
    threads.

    Args:
        groups: Groups with "norm", "nesterov" and "workspace_bytes" among their hyperparameters.
        advance: A function that steps one batch of one of the groups.
    """
    rooms = [workspace_of(of.group["params"], of.group.get("workspace_bytes")) for of in groups]
    work = [(alike, of) for of, room in zip(groups, rooms, strict=True) for alike in _alike_parts(of, room)]
    # The longest comes first, so that lanes end at about the same time.
    work.sort(key=lambda entry: entry[0].cost.multiplications, reverse=True)
    lanes = lanes_for([alike for alike, _ in work], sum(rooms))
    run_in_lanes([partial(_advance, advance, chunk, of) for alike, of in work for chunk in alike.chunks(lanes)], lanes)


def lmo_of_each(norm: Norm, directions: Sequence[Tensor]) -> Sequence[Tensor]:
    """Return the LMOs of tensors of one shape, dtype and device, as one batch; by the norm's own `lmo_of_each` if it
    has one.

    Args:
        norm: A norm, for which leading dimensions are a batch.
        directions: At least one tensor. They are not written to.

    Returns:
        The LMO of each, in its dtype or in the lower dtype of the products that computed it.
    """
    own = getattr(norm, "lmo_of_each", None)
    if own is not None:
        return own(directions)
    if directions[0].ndim == 0 or len(directions) == 1:
        return [norm.lmo(direction) for direction in directions]
    return norm.lmo(torch.stack(list(directions))).unbind()


def lmo_cost(norm: Norm, direction: Tensor) -> LmoCost:
    """Return the cost of one direction like this, whose values are not read."""
    own = getattr(norm, "lmo_cost", None)
    return LmoCost(0, BYTES_PER_ENTRY * direction.numel()) if own is None else own(direction)


def lmo_dtype(norm: Norm, direction: Tensor) -> torch.dtype:
    """Return the dtype in which `lmo_of_each` gives the LMO of a direction like this, whose values are not read."""
    own = getattr(norm, "lmo_dtype", None)
    return direction.dtype if own is None else own(direction)


def effort(norm: Norm, direction: Tensor) -> int:
    """Return the work by which LMOs like this are assigned to ranks: its multiplications, or else its entries."""
    return lmo_cost(norm, direction).multiplications or direction.numel()


def _alike_parts(of: PartsOfGroup, room: int) -> list[AlikeParts]:
    return [_priced(parts, of, room) for parts in by_shape(of.parts)]


def _priced(parts: list[Part], of: PartsOfGroup, room: int) -> AlikeParts:
    average = parts[0].average
    norm = norm_for(of.group["norm"], average.ndim)
    multiplied, workspace_bytes = lmo_cost(norm, average)
    if of.group["nesterov"]:
        workspace_bytes += average.nbytes
    # The random numbers of stochastic rounding belong to whole weights.
    is_by_rows = average.ndim > 1 and is_row_wise(norm) and "rounding_step" not in of.group
    return AlikeParts(parts, LmoCost(multiplied, workspace_bytes), room, is_by_rows)


def _advance(advance: Advance, parts: list[Part], of: PartsOfGroup) -> None:
    advance(batch_of(parts), of.group, of.decay)
