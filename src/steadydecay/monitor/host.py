"""Move numbers between host and device without waiting and in few transfers."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

Number = float | Tensor


def on_device(values: Sequence[Number], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return a vector of numbers on the device, some of which may already be 0-d tensors there."""
    if any(isinstance(value, Tensor) for value in values):
        parts = [value if isinstance(value, Tensor) else torch.full((), value, device=device) for value in values]
        return torch.stack([part.detach().to(device, dtype, non_blocking=True).reshape(()) for part in parts])
    # Avoid torch.tensor(..., device=device), which waits until the device has finished all its work.
    return torch.tensor(values, dtype=dtype).to(device, non_blocking=True)


def on_host(tree: Any) -> Any:
    """Return the same lists, tuples and dicts with tensors in float64 on the CPU, and 0-d tensors as floats.

    This takes one transfer from each device that holds some.
    """
    leaves, structure = pytree.tree_flatten(tree)
    at_device: dict[torch.device, list[int]] = defaultdict(list)
    for position, leaf in enumerate(leaves):
        if isinstance(leaf, Tensor):
            at_device[leaf.device].append(position)
    for positions in at_device.values():
        chosen = [leaves[position].detach() for position in positions]
        widest = torch.float64 if any(one.dtype == torch.float64 for one in chosen) else torch.float32
        flat = torch.cat([one.to(widest).flatten() for one in chosen]).cpu().double()
        parts = flat.split([one.numel() for one in chosen])
        for position, one, part in zip(positions, chosen, parts, strict=True):
            leaves[position] = part.view(one.shape) if one.ndim else part.item()
    return pytree.tree_unflatten(leaves, structure)
