"""Which weights an optimizer can step, and which it must refuse before any other has moved."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from steadydecay.groups.weight_names import weight_names

REAL = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# Stepped as torch's optimizers do: as their real view.
REAL_AND_COMPLEX = (*REAL, torch.complex64, torch.complex128)


def require_dtypes(group: Mapping[str, Any], legal: Sequence[torch.dtype], optimizer_name: str) -> None:
    """ValueError unless each weight of a group that is trained has a legal dtype.

    A frozen one may have any, for it never has a gradient: the int8 weights of a quantised model, say.

    Args:
        group: with `params` as a list of tensors, or of pairs of name and tensor.
        legal: dtypes that the optimizer steps.
        optimizer_name: for the error.
    """
    for name, entry in zip(weight_names(group), group["params"], strict=True):
        weight = entry[1] if isinstance(entry, tuple) else entry
        if isinstance(weight, Tensor) and weight.requires_grad and weight.dtype not in legal:
            raise ValueError(_refusal(name, weight, legal, optimizer_name))


def require_own_entries(group: Mapping[str, Any], optimizer_name: str) -> None:
    """ValueError unless each weight of a group is dense, and each that is trained has entries of their own.

    Args:
        group: as for `require_dtypes`.
        optimizer_name: for the error.
    """
    for name, entry in zip(weight_names(group), group["params"], strict=True):
        weight = entry[1] if isinstance(entry, tuple) else entry
        # Adam's state of a sparse weight cannot even be made.
        is_looked_at = isinstance(weight, Tensor) and (weight.requires_grad or weight.layout is not torch.strided)
        fault = _fault_of_entries(weight) if is_looked_at else ""
        if fault:
            raise ValueError(f"{name} cannot be stepped by {optimizer_name}: it {fault}")


def _fault_of_entries(weight: Tensor) -> str:
    if weight.layout is not torch.strided:
        return f"has the layout {weight.layout}; legal is a dense tensor: nn.Parameter(weight.to_dense())"
    if any(size > 1 and not stride for size, stride in zip(weight.shape, weight.stride(), strict=True)):
        return "has entries that share memory, as expand() makes them; legal are entries of their own: weight.clone()"
    if weight.is_neg() or weight.is_conj():
        return "is a view with another sign; legal is a tensor of its own: weight.resolve_neg().resolve_conj()"
    return ""


def illegal_weights(
    groups: Sequence[Mapping[str, Any]], legal: Sequence[torch.dtype], optimizer_name: str
) -> list[tuple[Tensor, str]]:
    """Weights without a legal dtype, frozen ones too, each with what to say once one has a gradient."""
    return [
        (weight, _refusal(name, weight, legal, optimizer_name))
        for index, group in enumerate(groups)
        for name, weight in zip(weight_names(group, index), group["params"], strict=True)
        if weight.dtype not in legal
    ]


def require_no_gradient(illegal: Sequence[tuple[Tensor, str]]) -> None:
    """ValueError if one of the `illegal_weights` has a gradient."""
    for weight, refusal in illegal:
        if weight.grad is not None:
            raise ValueError(refusal)


def _refusal(name: str, weight: Tensor, legal: Sequence[torch.dtype], optimizer_name: str) -> str:
    names = ", ".join(str(dtype).removeprefix("torch.") for dtype in legal)
    is_complex = weight.dtype.is_complex and not any(dtype.is_complex for dtype in legal)
    remedy = "give it to Lion, SGDW or AdamC, which step its real view" if is_complex else "keep it in one of them"
    dtype = str(weight.dtype).removeprefix("torch.")
    return f"{name} is {dtype}, which {optimizer_name} cannot step; legal are {names}: {remedy}"
