"""Whether what an optimizer holds of a weight is a tensor that a step can use."""

from typing import Any

from torch import Tensor


def require_like_weight(held: Any, parameter: Tensor, key: str, name: str) -> None:
    """ValueError unless what the state of a parameter holds under a key is a tensor of the parameter's shape."""
    legal = f"legal is {tuple(parameter.shape)}, that of the weight"
    if not isinstance(held, Tensor):
        remedy = "load the state of the same optimizer"
        raise ValueError(f"{key!r} in the state of {name} is of type {type(held).__name__}; {legal}: {remedy}")
    if tuple(held.shape) != tuple(parameter.shape):
        found = f"{key!r} in the state of {name} has the shape {tuple(held.shape)}"
        raise ValueError(f"{found}; {legal}: load the state of a model with these shapes")


def require_one_number(held: Any, key: str, name: str) -> None:
    """ValueError unless what the state of a parameter holds under a key is a real tensor of one entry."""
    if not isinstance(held, Tensor) or held.numel() != 1 or held.is_complex():
        found = (
            f"a {held.dtype} tensor of shape {tuple(held.shape)}"
            if isinstance(held, Tensor)
            else f"of type {type(held).__name__}"
        )
        legal = "legal is a real tensor of no dimension: load the state of the same optimizer"
        raise ValueError(f"{key!r} in the state of {name} is {found}; {legal}")
