"""Steps whose update is that of a whole matrix: weights of one shape together, in lanes where they pay."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from steadydecay.norms import is_row_wise, norm_for
from steadydecay.norms.protocol import LmoCost, Norm
from steadydecay.optim.batches.alike_parts import AlikeParts, by_shape, workspace_of
from steadydecay.optim.batches.lanes import lanes_for, run_in_lanes
from steadydecay.optim.batches.parts import Advance, Part, PartsOfGroup, batch_of

# Of a norm that does not say: a stack of gradients, and the lmo of it.
BYTES_PER_ENTRY = 8


def in_shape_batches(groups: Sequence[PartsOfGroup], advance: Advance) -> None:
    """Hand every part to `advance` once, in a batch of one shape, gradients in the dtype of the averages.

    Batches are as large as the group's "workspace_bytes" allows. Where lanes pay, `advance` runs in several threads.

    Args:
        groups: with "norm", "nesterov", "workspace_bytes" among their hyperparameters.
        advance: steps one batch of one of the groups.
    """
    rooms = [workspace_of(of.group["params"], of.group.get("workspace_bytes")) for of in groups]
    work = [(alike, of) for of, room in zip(groups, rooms, strict=True) for alike in _alike_parts(of, room)]
    # The longest first, so that lanes end at about the same time.
    work.sort(key=lambda entry: entry[0].cost.multiplications, reverse=True)
    lanes = lanes_for([alike for alike, _ in work], sum(rooms))
    run_in_lanes([partial(_advance, advance, chunk, of) for alike, of in work for chunk in alike.chunks(lanes)], lanes)


def lmo_of_each(norm: Norm, directions: Sequence[Tensor]) -> Sequence[Tensor]:
    """lmo of tensors of one shape, dtype and device, as one batch; by the norm's own `lmo_of_each` if it has one.

    Args:
        norm: whose leading dimensions are a batch.
        directions: at least one; not written to.

    Returns:
        An lmo of each, in its dtype or the lower one of the products that made it.
    """
    own = getattr(norm, "lmo_of_each", None)
    if own is not None:
        return own(directions)
    if directions[0].ndim == 0 or len(directions) == 1:
        return [norm.lmo(direction) for direction in directions]
    return norm.lmo(torch.stack(list(directions))).unbind()


def lmo_cost(norm: Norm, direction: Tensor) -> LmoCost:
    """The cost of one direction like this, whose numbers are not read."""
    own = getattr(norm, "lmo_cost", None)
    return LmoCost(0, BYTES_PER_ENTRY * direction.numel()) if own is None else own(direction)


def lmo_dtype(norm: Norm, direction: Tensor) -> torch.dtype:
    """In which `lmo_of_each` gives the lmo of a direction like this, whose numbers are not read."""
    own = getattr(norm, "lmo_dtype", None)
    return direction.dtype if own is None else own(direction)


def effort(norm: Norm, direction: Tensor) -> int:
    """What ranks are dealt the lmo of one direction like this by: its multiplications, or else its entries."""
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
