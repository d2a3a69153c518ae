"""The lmo of many tensors of one shape at once, sharded ones too."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from steadydecay.norms.protocol import LmoCost, Norm

# Of a norm that does not say: a stack of gradients, and the lmo of it.
BYTES_PER_ENTRY = 8


def lmo_cost(norm: Norm, direction: Tensor) -> LmoCost:
    """Of one direction like this, whose numbers are not read. Multiplications of sharded ones are not counted."""
    own = getattr(norm, "lmo_cost", None)
    # To look at the blocks of a sharded direction would gather it.
    if own is None or isinstance(direction, DTensor):
        return LmoCost(0, BYTES_PER_ENTRY * direction.numel())
    return own(direction)


def lmo_of_each(norm: Norm, directions: Sequence[Tensor]) -> Sequence[Tensor]:
    """lmo of tensors of one shape, dtype and device, as one batch; by the norm's own `lmo_of_each` if it has one.

    Args:
        norm: whose leading dimensions are a batch.
        directions: at least one; not written to. Of DTensors the results have the same placements.

    Returns:
        An lmo of each, in its dtype or the lower one of the products that made it.
    """
    sharded = [direction for direction in directions if isinstance(direction, DTensor)]
    if sharded:
        return _lmo_of_sharded(norm, sharded)
    own = getattr(norm, "lmo_of_each", None)
    if own is not None:
        return own(directions)
    if directions[0].ndim == 0 or len(directions) == 1:
        return [norm.lmo(direction) for direction in directions]
    return norm.lmo(torch.stack(list(directions))).unbind()


def _lmo_of_sharded(norm: Norm, directions: Sequence[DTensor]) -> Sequence[Tensor]:
    """Gathered, and the same on every rank: each keeps its part of it, without a word to the others."""
    whole = lmo_of_each(norm, [direction.full_tensor() for direction in directions])
    return [
        distribute_tensor(one, direction.device_mesh, direction.placements, src_data_rank=None)
        for one, direction in zip(whole, directions, strict=True)
    ]
