"""What is here of a tensor, as real numbers."""

import torch
from torch import Tensor, nn

from steadydecay.parallel.shards import local_part


def real_part(tensor: Tensor, like: Tensor | None = None) -> Tensor:
    """`local_part`, dense, and complex numbers as pairs: (..., 2). Called under no_grad."""
    is_plain = type(tensor) in (Tensor, nn.Parameter) and not (tensor.is_sparse or tensor.is_complex())
    if is_plain and (like is None or type(like) in (Tensor, nn.Parameter)):
        # As it is: 10⁵ views of small weights take a second.
        return tensor
    here = local_part(tensor.to_dense() if tensor.is_sparse else tensor, like).detach()
    return torch.view_as_real(here.resolve_conj()) if here.is_complex() else here
