"""One weight as a file lists it, before its values are read."""

import math
from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn

# What arithmetic in float64 can read; packed formats of 4 and 6 bits, integers and booleans are not weights here.
READABLE_TYPES = {
    torch.float64: "float64",
    torch.float32: "float32",
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
    torch.float8_e4m3fn: "float8_e4m3fn",
    torch.float8_e4m3fnuz: "float8_e4m3fnuz",
    torch.float8_e5m2: "float8_e5m2",
    torch.float8_e5m2fnuz: "float8_e5m2fnuz",
}  # Far beyond any hyperparameter, and within the range of float.
LARGEST_NUMBER = 1e300


@final
class StoredWeight(NamedTuple):
    """A floating-point tensor of a checkpoint.

    Attributes:
        name: in the file.
        shape: of the tensor, not empty.
        dtype: a value of `READABLE_TYPES`.
        tied: other names of the same memory.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    tied: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)


def is_floating(shape: tuple[int, ...], dtype: str) -> bool:
    """Whether a tensor has values that a norm can be taken of."""
    return dtype in READABLE_TYPES.values() and 0 not in shape


def is_plain(tensor: Tensor) -> bool:
    """Whether a tensor has one shape and its own values: none sparse, nested, quantised, distributed or without any."""
    is_dense = tensor.layout == torch.strided and not tensor.is_nested and type(tensor) in (Tensor, nn.Parameter)
    return is_dense and not tensor.is_meta and not tensor.is_quantized


def number_of(value: Any) -> float | None:
    """A number, or what a tensor of one entry holds, if that is finite and not complex; None for all else.

    >>> number_of(3), number_of(torch.tensor([0.5])), number_of("3"), number_of(10**400)
    (3, 0.5, None, None)
    """
    if isinstance(value, Tensor):
        is_one = is_plain(value) and value.numel() == 1 and not value.is_complex()
        return number_of(value.item()) if is_one else None
    is_number = isinstance(value, int | float) and abs(value) < LARGEST_NUMBER
    return value if is_number else None
