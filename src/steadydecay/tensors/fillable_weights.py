"""Weights that a norm can fill: they hold real numbers, and there is memory for these."""

from torch import Tensor
from torch.distributed.tensor import DTensor


def require_fillable(weight: Tensor, name: str = "the weight", is_shared: bool = False) -> None:
    """ValueError unless the weight has a real floating-point dtype and is on a device with memory.

    A complex weight would lose its imaginary part, and what is written to the meta device is lost.

    Args:
        weight: to be filled.
        name: of it in the error.
        is_shared: whether the caller sees to it that ranks which share a DTensor fill it alike; else that is an error.

    >>> require_fillable(Tensor(2, 2).cfloat())
    Traceback (most recent call last):
    ValueError: the weight is complex64, and a norm fills real weights only: initialise it by hand
    """
    if not weight.is_floating_point():
        dtype = str(weight.dtype).removeprefix("torch.")
        raise ValueError(f"{name} is {dtype}, and a norm fills real weights only: initialise it by hand")
    if weight.is_meta:
        remedy = "call model.to_empty(device=...) before it is initialised"
        raise ValueError(f"{name} is on the meta device, which keeps no numbers: {remedy}")
    if isinstance(weight, DTensor) and not is_shared:
        remedy = "call steadydecay.init_(groups) on every rank"
        raise ValueError(f"{name} is a DTensor, of which each rank would draw a part that fits no other: {remedy}")
