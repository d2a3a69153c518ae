"""How fast a norm changes relative to its memory, the time constant of the decay."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

# ln‖θ‖ in float32 is right to about 10⁻⁶. Over this time a drift is at most 0.01 off, a fifth of what matters.
SHORTEST_TIME = 1e-4


class Trend(NamedTuple):
    """The trends of several layers; each entry is (stacked,).

    Attributes:
        rate: The weighted mean of d ln‖θ‖/ds over the past, with s in time constants and weights that fall as e^-s.
        log_norm: ln‖θ‖ at the last report, or -∞ before the first.
    """

    rate: Tensor
    log_norm: Tensor

    @classmethod
    def new(cls, layers: int, device: torch.device) -> "Trend":
        return cls(torch.zeros(layers, device=device), torch.full((layers,), -math.inf, device=device))

    def after(self, norm_sq: Tensor, elapsed: Tensor) -> "Trend":
        """Return the trend after one more report of ‖θ‖² and the time constants ≥ 0 since the last. 0 has no trend."""
        log_norm, elapsed = norm_sq.float().log() / 2, elapsed.float()
        is_known = log_norm.isfinite() & self.log_norm.isfinite()
        change = torch.where(is_known, log_norm - self.log_norm, 0)
        # This is the mean of e^-s over the interval, within which the norm is assumed to change evenly.
        weight = torch.where(elapsed > 0, -torch.expm1(-elapsed) / elapsed, 1)
        return Trend(self.rate * torch.exp(-elapsed) + change * weight, log_norm)


def drift(rate: float, time_constants: float) -> float | None:
    """Return the relative change of the norm in one time constant, which is exact if the rate was constant from the
    start.

    Args:
        rate: The rate of a `Trend`.
        time_constants: The time constants since its first report. Below `SHORTEST_TIME` the result is None, because
            rounding errors, or a change in no time, are not a rate.

    >>> drift(0.5 * (1 - math.exp(-2)), 2.0), drift(0.1, 0.0)
    (0.5, None)
    """
    return rate / -math.expm1(-time_constants) if time_constants >= SHORTEST_TIME else None
