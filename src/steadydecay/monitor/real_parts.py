"""The local part of a tensor as real numbers."""

import torch
from torch import Tensor, nn

from steadydecay.parallel.shards import local_part


def real_part(tensor: Tensor, like: Tensor | None = None) -> Tensor:
    """Return `local_part` as a dense tensor, with complex numbers as pairs (..., 2). Call it under no_grad."""
    is_plain = type(tensor) in (Tensor, nn.Parameter) and not (tensor.is_sparse or tensor.is_complex())
    if is_plain and (like is None or type(like) in (Tensor, nn.Parameter)):
        # Return it as it is, because 10⁵ views of small weights take a second.
        return tensor
    here = local_part(tensor.to_dense() if tensor.is_sparse else tensor, like).detach()
    return torch.view_as_real(here.resolve_conj()) if here.is_complex() else here
