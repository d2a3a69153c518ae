"""Check that a norm can initialise a weight: it must hold real numbers and have memory allocated."""

from torch import Tensor
from torch.distributed.tensor import DTensor


def require_fillable(weight: Tensor, name: str = "the weight", is_shared: bool = False) -> None:
    """Raise ValueError unless the weight has a real floating-point dtype and lies on a device with memory.

    A complex weight would lose its imaginary part, and values written to the meta device are lost.

    Args:
        weight: The weight to initialise.
        name: How the error refers to the weight.
        is_shared: Whether the caller makes sure that all ranks sharing a DTensor fill it consistently. A DTensor is
            refused otherwise.

    >>> require_fillable(Tensor(2, 2).cfloat())
    Traceback (most recent call last):
    ValueError: the weight has dtype complex64, but norms only initialise real weights; initialise it yourself
    """
    if not weight.is_floating_point():
        dtype = str(weight.dtype).removeprefix("torch.")
        raise ValueError(f"{name} has dtype {dtype}, but norms only initialise real weights; initialise it yourself")
    if weight.is_meta:
        remedy = "call model.to_empty(device=...) before initialising it"
        raise ValueError(f"{name} is on the meta device, which stores no values; {remedy}")
    if isinstance(weight, DTensor) and not is_shared:
        remedy = "call steadydecay.init_(groups) on every rank"
        raise ValueError(f"{name} is a DTensor, whose shards the ranks would draw independently; {remedy}")
