"""How fast a norm changes against its own memory, the time constant of the decay."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

# ln‖θ‖ in float32 is right to about 10⁻⁶: over this time a drift is off by 0.01 at most, a fifth of what counts.
SHORTEST_TIME = 1e-4


class Trend(NamedTuple):
    """Of several layers, each entry (stacked,).

    Attributes:
        rate: weighted mean of d ln‖θ‖/ds over the past, s in time constants; the weight of the past falls as e^-s.
        log_norm: ln‖θ‖ at the last report; -∞ before the first.
    """

    rate: Tensor
    log_norm: Tensor

    @classmethod
    def new(cls, layers: int, device: torch.device) -> "Trend":
        return cls(torch.zeros(layers, device=device), torch.full((layers,), -math.inf, device=device))

    def after(self, norm_sq: Tensor, elapsed: Tensor) -> "Trend":
        """With a report more: ‖θ‖² now, and the time constants since the last, ≥ 0. A norm of 0 has no trend."""
        log_norm, elapsed = norm_sq.float().log() / 2, elapsed.float()
        is_known = log_norm.isfinite() & self.log_norm.isfinite()
        change = torch.where(is_known, log_norm - self.log_norm, 0)
        # The mean of e^-s over the interval: the norm is taken to change evenly within it.
        weight = torch.where(elapsed > 0, -torch.expm1(-elapsed) / elapsed, 1)
        return Trend(self.rate * torch.exp(-elapsed) + change * weight, log_norm)


def drift(rate: float, time_constants: float) -> float | None:
    """Relative change of the norm in one time constant; exact where it has changed at one rate from the start.

    Args:
        rate: of `Trend`.
        time_constants: since its first report; below `SHORTEST_TIME` None, for what rounding adds to a norm, or a
            change in no time, is no rate.

    >>> drift(0.5 * (1 - math.exp(-2)), 2.0), drift(0.1, 0.0)
    (0.5, None)
    """
    return rate / -math.expm1(-time_constants) if time_constants >= SHORTEST_TIME else None
