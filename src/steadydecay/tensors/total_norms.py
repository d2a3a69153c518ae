"""Norms of an optimizer's weights and gradients by group, for a trainer's log."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor


def weight_norms(groups: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
    """{"weight_norm/<group>": Frobenius norm over all its parameters}, on the device; groups of one role count as one.

    A group without a role goes by its `name`, else by its index: "group_0".
    """
    return _norms("weight_norm", groups, lambda parameter: parameter)


def gradient_norms(groups: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
    """{"gradient_norm/<group>": ...} likewise, over the gradients that there are."""
    return _norms("gradient_norm", groups, lambda parameter: parameter.grad)


def total_norm(tensors: Iterable[Tensor]) -> Tensor:
    """Frobenius norm over all tensors together, in float32 at least; sharded tensors count whole, on every rank.

    >>> total_norm([torch.tensor([3.0, 0.0], dtype=torch.bfloat16), torch.tensor([[4.0]])])
    tensor(5.)
    """
    norms = [_norm(tensor.detach()) for tensor in tensors]
    whole = [norm.full_tensor() if isinstance(norm, DTensor) else norm for norm in norms]
    return torch.linalg.vector_norm(torch.stack([norm.to(whole[0].device) for norm in whole]))


def _norm(tensor: Tensor) -> Tensor:
    """Row by row: on a CPU float32 sums of 4·10⁷ squares lose 0.2 % of the norm."""
    rows = torch.linalg.vector_norm(
        tensor, dim=-1 if tensor.ndim else None, dtype=torch.promote_types(tensor.dtype, torch.float32)
    )
    return torch.linalg.vector_norm(rows)


def _norms(measure: str, groups: Sequence[Mapping[str, Any]], tensor_of: Any) -> dict[str, Tensor]:
    tensors: dict[str, list[Tensor]] = defaultdict(list)
    for index, group in enumerate(groups):
        name = group.get("role") or group.get("name") or f"group_{index}"
        tensors[name] += [tensor for tensor in map(tensor_of, group["params"]) if tensor is not None]
    return {f"{measure}/{name}": total_norm(of_group) for name, of_group in tensors.items() if of_group}
