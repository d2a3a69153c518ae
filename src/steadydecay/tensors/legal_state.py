"""Check that the optimizer state of a parameter is a tensor that a step can use."""

from typing import Any

from torch import Tensor


def require_like_weight(held: Any, parameter: Tensor, key: str, name: str) -> None:
    """Raise ValueError unless `held`, the state of a parameter under `key`, is a tensor of the parameter's shape."""
    legal = f"it must be a tensor of the weight's shape {tuple(parameter.shape)}"
    if not isinstance(held, Tensor):
        remedy = "Load a state of the same optimizer"
        raise ValueError(f"{key!r} in the state of {name} is of type {type(held).__name__}; {legal}. {remedy}")
    if tuple(held.shape) != tuple(parameter.shape):
        found = f"{key!r} in the state of {name} has shape {tuple(held.shape)}"
        raise ValueError(f"{found}; {legal}. Load a state of a model with these shapes")


def require_one_number(held: Any, key: str, name: str) -> None:
    """Raise ValueError unless `held`, the state of a parameter under `key`, is a real tensor with one entry."""
    if not isinstance(held, Tensor) or held.numel() != 1 or held.is_complex():
        found = (
            f"a {held.dtype} tensor of shape {tuple(held.shape)}"
            if isinstance(held, Tensor)
            else f"of type {type(held).__name__}"
        )
        legal = "it must be a real 0-d tensor. Load a state of the same optimizer"
        raise ValueError(f"{key!r} in the state of {name} is {found}; {legal}")
