"""Sums over the entries of weights, updates and gradients, for a batch of layers of one shape; pure functions.

All return columns for (stacked,) layers, add up over rows, and so over shards of rows too.
"""

import torch
from torch import Tensor

from steadydecay.monitor.chunks import Matrices, Scratch, squares, stacked_rows


def weight_sums(before: Tensor, weights: Matrices, decays: Tensor, scratch: Scratch) -> Tensor:
    """‖θ‖² before and ‖θ‖² after the step, ‖γu‖², and ⟨θ, -γu⟩ with θ before: (stacked, 4).

    -γu is what was really added beside the decay: θ_after - (1-η) θ_before.

    Args:
        before: (stacked, rows, columns); in the dtype of the weights.
        weights: after the step.
        decays: η of each, (stacked,).
    """
    total = 0
    for rows in weights.chunks():
        after = stacked_rows(weights, rows, scratch, "weights")
        earlier = before[:, rows].to(after.dtype)
        # After minus before is exact where both are close; then the decay, which is small, comes on top.
        added = torch.sub(after, earlier, out=scratch.take("added", after.shape, after, after.dtype))
        added.addcmul_(earlier, decays.to(after.dtype).view(-1, 1, 1))
        product = torch.mul(earlier, added, out=scratch.take("product", after.shape, after, after.dtype))
        columns = [squares(earlier), squares(after), squares(added), product.sum(dim=(1, 2))]
        total = total + torch.stack(columns, dim=1)
    return torch.as_tensor(total)


def gradient_sums(gradients: Matrices, momenta: Matrices, scratch: Scratch) -> Tensor:
    """‖g‖², ‖m‖² and ⟨g, m⟩: (stacked, 3)."""
    total = 0
    for rows in gradients.chunks():
        gradient = stacked_rows(gradients, rows, scratch, "gradients")
        momentum = stacked_rows(momenta, rows, scratch, "momenta").to(gradient.dtype)
        product = torch.mul(gradient, momentum, out=scratch.take("product", gradient.shape, gradient, gradient.dtype))
        columns = [squares(gradient), squares(momentum), product.sum(dim=(1, 2))]
        total = total + torch.stack(columns, dim=1)
    return torch.as_tensor(total)


def unit_gradient_squares(
    gradients: Matrices, averages: Matrices, corrections: Tensor, eps: Tensor, scratch: Scratch
) -> Tensor:
    """‖g / (√v̂ + ε)‖² (stacked,): what Adam's second moment makes of one gradient without momentum.

    Args:
        averages: v, of squared gradients.
        corrections: 1 - β₂^t of each, v̂ = v / correction.
        eps: ε of each.
    """
    total = 0
    for rows in gradients.chunks():
        gradient = stacked_rows(gradients, rows, scratch, "gradients")
        average = stacked_rows(averages, rows, scratch, "momenta")
        divisor = scratch.take("product", gradient.shape, gradient, gradient.dtype)
        torch.div(average, corrections.to(gradient.dtype).view(-1, 1, 1), out=divisor).sqrt_()
        divisor.add_(eps.to(gradient.dtype).view(-1, 1, 1))
        # 0/0, where neither a gradient nor ε has ever been, is no update.
        total = total + squares(torch.div(gradient, divisor, out=divisor).nan_to_num_(nan=0.0))
    return torch.as_tensor(total)


def largest_entries(weights: Matrices, scratch: Scratch) -> Tensor:
    """max |w| of each (stacked,), 0 of an empty shard."""
    if not weights.parts[0].numel():
        # In the dtype in which the other ranks have theirs.
        dtype = torch.promote_types(weights.parts[0].dtype, torch.float32)
        return torch.zeros(len(weights.parts), device=weights.parts[0].device, dtype=dtype)
    batches = (stacked_rows(weights, rows, scratch, "weights") for rows in weights.chunks())
    return torch.stack([torch.linalg.vector_norm(batch, torch.inf, dim=(1, 2)) for batch in batches]).amax(dim=0)
