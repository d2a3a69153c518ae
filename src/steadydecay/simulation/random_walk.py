"""Monte Carlo of the weight norm: Gaussian noise through the real `Scion` (arXiv 2512.08217, Appendix A)."""

import math
from collections.abc import Iterable, Sequence
from typing import final

import torch
from torch import Tensor

from steadydecay.norms import Bias, Norm, RowNorm, Sign, Spectral, lmo_norm_sq
from steadydecay.optim.scion import Scion
from steadydecay.theory.filters import Momentum, MomentumFilter
from steadydecay.theory.lmo_correlation import Lmo, power_series
from steadydecay.theory.norm_forecast import Schedule, checked_schedules
from steadydecay.theory.validation import require_in

StepSettings = tuple[float, float, Momentum]


def simulate(
    lr: Sequence[float],
    decay: Schedule,
    momentum: Sequence[Momentum] | Momentum = 0.0,
    *,
    nesterov: bool = False,
    lmo: Lmo = "linear",
    initial_norm_sq: float = 0.0,
    dim: int = 4096,
    seed: int = 0,
    progress: bool = False,
) -> list[float]:
    """Simulate ‖θ_t‖²/E‖u‖² after each step of `Scion` in float64 on pure noise, which is what `forecast` predicts.

    E‖u‖² is the mean over the run, so that the singular values that the Polar Express leaves are taken into account. A
    momentum filter that Scion does not have (Lion's) is applied to the gradients, and Scion then runs without momentum.
    The method is that of arXiv 2512.08217, Appendix A.

    Args:
        lr, decay, momentum, nesterov, lmo, initial_norm_sq: As in `forecast`. "linear" is one vector of `dim` entries,
            whose φ differs from the identity by less than 1/dim.
        dim: The number of weights, 1 or more, rounded to whole vectors or matrices. The relative standard error of each
            result is about √(2/dim).
        seed: The seed of the gradients and of the initial weights. torch's global generator is not used.
        progress: Whether to show a progress bar (this needs rich).

    Returns:
        A list with one number for each step.

    Raises:
        ValueError: An argument is outside its range, the schedule is empty, or schedules differ in length.

    >>> norms_sq = simulate([1.0] * 50, 0.1, dim=100_000)
    >>> abs(norms_sq[-1] * 0.1 * 1.9 - 1) < 0.03
    True
    """
    lrs, decays, momenta = checked_schedules(lr, decay, momentum)
    require_in("initial_norm_sq", initial_norm_sq, 0, include_low=True)
    require_in("dim", dim, 1, include_low=True)
    walk = RandomWalk(lmo, dim, seed, initial_norm_sq, nesterov)
    squares = [
        walk.step(gamma, eta, beta)
        for gamma, eta, beta in _with_progress(list(zip(lrs, decays, momenta, strict=True)), progress)
    ]
    updates = [update for _, update in squares if update is not None]
    mean_update = math.fsum(updates) / len(updates) if updates else walk.nominal_update_norm_sq
    return [weight / mean_update for weight, _ in squares]


@final
class RandomWalk:
    """Weights that `Scion` moves along the LMO of averaged noise."""

    def __init__(self, lmo: Lmo, dim: int, seed: int, initial_norm_sq: float, nesterov: bool) -> None:
        norm, shape = _norm_and_shape(lmo, dim)
        self.nominal_update_norm_sq = lmo_norm_sq(norm, shape)
        self._generator = torch.Generator().manual_seed(seed)
        initial_deviation = math.sqrt(initial_norm_sq * self.nominal_update_norm_sq / math.prod(shape))
        self._weight = (self._noise(shape) * initial_deviation).requires_grad_()
        self._average = torch.zeros_like(self._weight)
        self._optimizer = Scion([self._weight], lr=0.0, momentum=0.0, nesterov=nesterov, norm=norm)

    @torch.no_grad()
    def step(self, lr: float, decay: float, momentum: Momentum) -> tuple[float, float | None]:
        """Return ‖θ‖² after one step, and ‖u‖² of the step (None at lr = 0, where it cannot be seen)."""
        group, before = self._optimizer.param_groups[0], self._weight.detach().clone()
        gradient = self._noise(before.shape)
        is_filter = isinstance(momentum, MomentumFilter)
        self._weight.grad = self._filtered(gradient, momentum) if is_filter else gradient
        group["lr"], group["momentum"] = lr, 0.0 if is_filter else momentum
        group["weight_decay"] = decay / lr if lr else 0.0
        self._optimizer.step()
        if lr == 0:
            self._weight.mul_(1 - decay)
        update_norm_sq = float((self._weight - before * (1 - decay)).square().sum()) / lr**2 if lr else None
        return float(self._weight.square().sum()), update_norm_sq

    def _filtered(self, gradient: Tensor, momentum: MomentumFilter) -> Tensor:
        direction = self._average.lerp(gradient, 1 - momentum.carry)
        self._average.lerp_(gradient, 1 - momentum.decay)
        return direction

    def _noise(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=self._generator)


def _norm_and_shape(lmo: Lmo, dim: int) -> tuple[Norm, tuple[int, ...]]:
    power_series(lmo)  # This refuses an unknown lmo.
    match lmo:
        case "linear":
            return Bias(), (dim,)
        case "sign":
            return Sign(), (1, dim)
        case ("vector", entries):
            return RowNorm(), (max(1, round(dim / entries)), int(entries))
        case (_, rows, columns):
            return Spectral(), (max(1, round(dim / (rows * columns))), rows, columns)
    raise AssertionError(lmo)


def _with_progress(items: Sequence[StepSettings], progress: bool) -> Iterable[StepSettings]:
    if not progress:
        return items
    from rich.progress import track

    return track(items, description="simulating")
