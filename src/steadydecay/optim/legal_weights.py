"""Refuse weights that an optimizer cannot step, before any other weight has moved."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from steadydecay.groups.weight_names import weight_names

REAL = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# Complex weights are stepped as their real view, as in torch's optimizers.
REAL_AND_COMPLEX = (*REAL, torch.complex64, torch.complex128)


def require_steppable(group: Mapping[str, Any], legal: Sequence[torch.dtype], optimizer_name: str) -> None:
    """Raise ValueError unless an optimizer can write the entries of each trainable weight of a group.

    A frozen weight may have any dtype, because it never has a gradient, such as the int8 weights of a quantised model.
    It must be dense all the same, because Adam cannot even create the state of a sparse weight.

    Args:
        group: A group whose `params` is a list of tensors, or of pairs of name and tensor.
        legal: The dtypes that the optimizer can step.
        optimizer_name: The name of the optimizer, for the error.
    """
    # Names are built for the error alone, because there may be very many weights.
    for position, entry in enumerate(group["params"]):
        weight = entry[1] if isinstance(entry, tuple) else entry
        if not isinstance(weight, Tensor):
            continue
        if weight.requires_grad and weight.dtype not in legal:
            raise ValueError(_refusal(_name(group, position), weight, legal, optimizer_name))
        if (weight.requires_grad or weight.layout is not torch.strided) and (fault := _fault_of_entries(weight)):
            raise ValueError(f"{_name(group, position)} cannot be stepped by {optimizer_name}: it {fault}")


def _name(group: Mapping[str, Any], position: int) -> str:
    return list(weight_names(group))[position]


def _fault_of_entries(weight: Tensor) -> str:
    if weight.layout is not torch.strided:
        return f"has the layout {weight.layout}; it must be a dense tensor: nn.Parameter(weight.to_dense())"
    if 0 in weight.stride() and any(
        size > 1 and not stride for size, stride in zip(weight.shape, weight.stride(), strict=True)
    ):
        return "has entries that share memory, as expand() makes them; it must be a tensor of its own: weight.clone()"
    if weight.is_neg() or weight.is_conj():
        return "is a view with another sign; it must be a tensor of its own: weight.resolve_neg().resolve_conj()"
    return ""


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
