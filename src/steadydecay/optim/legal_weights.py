"""Refuse weights that an optimizer cannot step, before any other weight has moved."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from steadydecay.groups.weight_names import weight_names

REAL = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# Complex weights are stepped as their real view, as in torch's optimizers.
REAL_AND_COMPLEX = (*REAL, torch.complex64, torch.complex128)


def require_dtypes(group: Mapping[str, Any], legal: Sequence[torch.dtype], optimizer_name: str) -> None:
    """Raise ValueError unless each trainable weight of a group has a legal dtype.

    A frozen weight may have any dtype, because it never has a gradient, such as the int8 weights of a quantised model.

    Args:
        group: A group whose `params` is a list of tensors, or of pairs of name and tensor.
        legal: The dtypes that the optimizer can step.
        optimizer_name: The name of the optimizer, for the error.
    """
    for name, entry in zip(weight_names(group), group["params"], strict=True):
        weight = entry[1] if isinstance(entry, tuple) else entry
        if isinstance(weight, Tensor) and weight.requires_grad and weight.dtype not in legal:
            raise ValueError(_refusal(name, weight, legal, optimizer_name))


def illegal_weights(
    groups: Sequence[Mapping[str, Any]], legal: Sequence[torch.dtype], optimizer_name: str
) -> list[tuple[Tensor, str]]:
    """Return weights without a legal dtype, including frozen ones, each with the error for when it has a gradient."""
    return [
        (weight, _refusal(name, weight, legal, optimizer_name))
        for index, group in enumerate(groups)
        for name, weight in zip(weight_names(group, index), group["params"], strict=True)
        if weight.dtype not in legal
    ]


def require_no_gradient(illegal: Sequence[tuple[Tensor, str]]) -> None:
    """Raise ValueError if one of the `illegal_weights` has a gradient."""
    for weight, refusal in illegal:
        if weight.grad is not None:
            raise ValueError(refusal)


def _refusal(name: str, weight: Tensor, legal: Sequence[torch.dtype], optimizer_name: str) -> str:
    names = ", ".join(str(dtype).removeprefix("torch.") for dtype in legal)
    is_complex = weight.dtype.is_complex and not any(dtype.is_complex for dtype in legal)
    remedy = "step it with Lion, SGDW or AdamC, which use its real view" if is_complex else "keep it in one of these"
    dtype = str(weight.dtype).removeprefix("torch.")
    return f"{name} is {dtype}, which {optimizer_name} cannot step; it must be one of {names}: {remedy}"
