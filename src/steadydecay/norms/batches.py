"""The lmo of many tensors of one shape at once."""

from collections.abc import Sequence

import torch
from torch import Tensor

from steadydecay.norms.protocol import Norm


def lmo_of_each(norm: Norm, directions: Sequence[Tensor]) -> Sequence[Tensor]:
    """lmo of tensors of one shape, dtype and device, as one batch; by the norm's own `lmo_of_each` if it has one.

    Args:
        norm: whose leading dimensions are a batch.
        directions: at least one; not written to.
    """
    own = getattr(norm, "lmo_of_each", None)
    if own is not None:
        return own(directions)
    if directions[0].ndim == 0 or len(directions) == 1:
        return [norm.lmo(direction) for direction in directions]
    return norm.lmo(torch.stack(list(directions))).unbind()
