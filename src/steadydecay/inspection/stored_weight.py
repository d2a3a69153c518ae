"""One weight as a file lists it, before its values are read."""

import math
from typing import NamedTuple, final

import torch

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
}
# What a model computes and saves beside its weights.
BUFFERS = ("running_mean", "running_var", "inv_freq", "masked_bias")


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


def is_weight(name: str, shape: tuple[int, ...], dtype: str) -> bool:
    """Whether a tensor has values that a norm can be taken of, and is no buffer of running statistics."""
    return dtype in READABLE_TYPES.values() and 0 not in shape and name.rpartition(".")[2] not in BUFFERS
