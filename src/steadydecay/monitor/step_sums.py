"""Sums over the entries of weights, updates and gradients, for a batch of layers of one shape, as pure functions.

All of them return columns for (stacked,) layers. They add up over rows, and so over shards of rows too.
"""

import torch
from torch import Tensor

from steadydecay.monitor.chunks import Matrices, Scratch, squares, stacked_rows


def weight_sums(before: Tensor, weights: Matrices, decays: Tensor, scratch: Scratch) -> Tensor:
    """Return ‖θ‖² before and after the step, ‖γu‖², and ⟨θ, -γu⟩ with θ before the step: (stacked, 4).

    -γu is what the step really added besides the decay: θ_after - (1-η) θ_before.

    Args:
        before: The weights before the step (stacked, rows, columns), in their dtype.
        weights: The weights after the step.
        decays: η of each layer, (stacked,).
        scratch: Memory for temporaries.
    """
    total = 0
    for rows in weights.chunks():
        after = stacked_rows(weights, rows, scratch, "weights")
        earlier = before[:, rows].to(after.dtype)
        # The difference is exact if both are close. The decay, which is small, is added afterwards.
        added = torch.sub(after, earlier, out=scratch.take("added", after.shape, after, after.dtype))
        added.addcmul_(earlier, decays.to(after.dtype).view(-1, 1, 1))
        product = torch.mul(earlier, added, out=scratch.take("product", after.shape, after, after.dtype))
        columns = [squares(earlier), squares(after), squares(added), product.sum(dim=(1, 2))]
        total = total + torch.stack(columns, dim=1)
    return torch.as_tensor(total)


def gradient_sums(gradients: Matrices, momenta: Matrices, scratch: Scratch) -> Tensor:
    """Return ‖g‖², ‖m‖² and ⟨g, m⟩: (stacked, 3)."""
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
    """Return ‖g / (√v̂ + ε)‖² (stacked,), what Adam's second moment makes of one gradient without momentum.

    Args:
        gradients: g.
        averages: v, the averages of squared gradients.
        corrections: 1 - β₂^t of each layer, with v̂ = v / correction.
        eps: ε of each layer.
        scratch: Memory for temporaries.
    """
    total = 0
    for rows in gradients.chunks():
        gradient = stacked_rows(gradients, rows, scratch, "gradients")
        average = stacked_rows(averages, rows, scratch, "momenta")
        divisor = scratch.take("product", gradient.shape, gradient, gradient.dtype)
        torch.div(average, corrections.to(gradient.dtype).view(-1, 1, 1), out=divisor).sqrt_()
        divisor.add_(eps.to(gradient.dtype).view(-1, 1, 1))
        # 0/0, with neither a gradient nor ε so far, means no update.
        total = total + squares(torch.div(gradient, divisor, out=divisor).nan_to_num_(nan=0.0))
    return torch.as_tensor(total)


def largest_entries(weights: Matrices, scratch: Scratch) -> Tensor:
    """Return max |w| of each layer (stacked,), which is 0 for an empty shard."""
    if not weights.parts[0].numel():
        # Use the dtype that the other ranks use.
        dtype = torch.promote_types(weights.parts[0].dtype, torch.float32)
        return torch.zeros(len(weights.parts), device=weights.parts[0].device, dtype=dtype)
    batches = (stacked_rows(weights, rows, scratch, "weights") for rows in weights.chunks())
    return torch.stack([torch.linalg.vector_norm(batch, torch.inf, dim=(1, 2)) for batch in batches]).amax(dim=0)
