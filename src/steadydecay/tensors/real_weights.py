"""Weights that hold real numbers, the only ones that a norm can fill."""

from torch import Tensor


def require_real(weight: Tensor, name: str = "the weight") -> None:
    """ValueError unless the weight has a real floating-point dtype: a complex one would lose its imaginary part.

    >>> require_real(Tensor(2, 2).cfloat())
    Traceback (most recent call last):
    ValueError: the weight is complex64, and a norm fills real weights only: initialise it by hand
    """
    if not weight.is_floating_point():
        dtype = str(weight.dtype).removeprefix("torch.")
        raise ValueError(f"{name} is {dtype}, and a norm fills real weights only: initialise it by hand")
