"""Half-precision products on the CPU with the rounding of a GPU's tensor cores."""

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

HALF = (torch.float16, torch.bfloat16)
PRODUCTS = {torch.bmm, torch.baddbmm, torch.matmul, Tensor.matmul, Tensor.__matmul__}


class TensorCores(TorchFunctionMode):
    """While active, products of half-precision tensors are exact, summed in float32 and rounded once.

    The CPU's own round differently from one processor to the next, and its float16 ones take a hundred times longer.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func not in PRODUCTS or args[0].dtype not in HALF:
            return func(*args, **kwargs)
        out, dtype = kwargs.pop("out", None), args[0].dtype
        product = func(*(operand.float() for operand in args), **kwargs).to(dtype)
        return product if out is None else out.copy_(product)
