"""The weight norm under any schedule of lr, decay and momentum, step by step.

With ``E‖θ_t‖² = N_t E‖u‖²`` and ``X_t = E⟨θ_{t-1}, u_t⟩/E‖u‖²``, the first equation of arXiv 2512.08217 reads

    N_t = (1-η_t)² N_{t-1} - 2γ_t (1-η_t) X_t + γ_t².

Momentum makes X. Let ``r_t, h_t, s_t`` be the correlations of the stored average m_{t-1} with m_t, of m_{t-1} with the
direction d_t, and of d_t with m_t. Directions j steps apart are correlated as ``s r^(j-1) h``, so each power p of
φ = Σ a_p ρ^p has one number

    Y_{t+1} = (1-η_t) r_t^p Y_t - γ_t s_t^p,    X_t = Σ_p a_p h_t^p Y_t,

exact for independent Gaussian gradients, also while momentum fills up and under a momentum schedule.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from steadydecay.theory.filters import Momentum, MomentumFilter, momentum_filter, unchecked_filter
from steadydecay.theory.lmo_correlation import Lmo, power_series
from steadydecay.theory.power_series import PowerSeries
from steadydecay.theory.validation import require_in

# Terms a_p ρ^p that are below this at the largest correlation of the run are left out of the sum.
SMALLEST_TERM = 1e-7

Schedule = Sequence[float] | float


class Correlations(NamedTuple):
    """Correlations of one step: average and next average (r), average and direction (h), direction and average (s)."""

    averages: float
    from_average: float
    to_average: float


def forecast(
    lr: Sequence[float],
    decay: Schedule,
    momentum: Sequence[Momentum] | Momentum = 0.0,
    *,
    nesterov: bool = False,
    lmo: Lmo = "linear",
    initial_norm_sq: float = 0.0,
) -> list[float]:
    """Predict E‖θ‖²/E‖u‖² after each step of a schedule, before any training (docs/forecast_theory.md).

    Args:
        lr: The learning rate γ_t ≥ 0 of each step.
        decay: η_t in [0, 1) of each step, or one number for all steps.
        momentum: β_t in [0, 1) or a filter, for each step or for all. The average starts at zero, as in optimizers.
        nesterov: Whether the momentum looks ahead by one gradient.
        lmo: The law of correlation φ, as in `correlation`.
        initial_norm_sq: E‖θ_0‖²/E‖u‖² ≥ 0 of initial weights that are independent of the gradients.

    Returns:
        A list with one number for each step.

    Raises:
        ValueError: An argument is outside its range, the schedule is empty, or schedules differ in length.

    >>> [round(norm_sq, 4) for norm_sq in forecast([1.0, 1.0, 1.0], 0.5)]
    [1.0, 1.25, 1.3125]
    >>> steps = forecast([0.1] * 2000, 0.01, 0.9, lmo="sign")
    >>> from steadydecay.theory import steady_norm_sq
    >>> round(steps[-1] / steady_norm_sq(0.1, 0.01, 0.9, lmo="sign"), 4)
    1.0
    """
    lrs, decays, momenta = checked_schedules(lr, decay, momentum)
    require_in("initial_norm_sq", initial_norm_sq, 0, include_low=True)
    correlations = _correlations([unchecked_filter(one, nesterov) for one in momenta])
    largest = max(one.from_average for one in correlations) * max(one.to_average for one in correlations)
    powers, shares = _kept_terms(power_series(lmo), largest)
    norm_sq, memories, norms_sq = initial_norm_sq, [0.0] * len(powers), []
    previous, factors = None, ([], [], [])
    for gamma, eta, now in zip(lrs, decays, correlations, strict=True):
        if now != previous:
            previous, factors = now, _powers(now, powers, shares)
        averages, weights, to_average = factors
        kept = 1 - eta
        alignment = sum([weight * memory for weight, memory in zip(weights, memories, strict=True)])
        norm_sq = kept * (kept * norm_sq - 2 * gamma * alignment) + gamma * gamma
        memories = [kept * r * memory - gamma * s for r, memory, s in zip(averages, memories, to_average, strict=True)]
        norms_sq.append(norm_sq)
    return norms_sq


def checked_schedules(
    lr: Sequence[float], decay: Schedule, momentum: Sequence[Momentum] | Momentum
) -> tuple[Sequence[float], Sequence[float], Sequence[Momentum]]:
    """Return three schedules of one length after checking all their values.

    Raises:
        ValueError: As in `forecast`.
    """
    if len(lr) == 0:
        raise ValueError("lr is an empty schedule; it must have one value for each step")
    decays = _repeated("decay", decay, len(lr))
    momenta = _repeated("momentum", momentum, len(lr))
    for name, values, high in (("lr", lr, math.inf), ("decay", decays, 1.0)):
        for step, value in enumerate(values):
            if not 0 <= value < high:
                require_in(f"{name}[{step}]", value, 0, high, include_low=True)
    for one in dict.fromkeys(momenta):
        momentum_filter(one)
    return lr, decays, momenta


def _correlations(filters: Sequence[MomentumFilter]) -> list[Correlations]:
    """Return the correlations of each step, from V = E m² and the direction's variance in units of a gradient's."""
    variance, correlations = 0.0, []
    for carry, beta, _ in filters:
        direction = math.sqrt(carry**2 * variance + (1 - carry) ** 2)
        after = beta**2 * variance + (1 - beta) ** 2
        shared = carry * beta * variance + (1 - carry) * (1 - beta)
        before_deviation, after_deviation = math.sqrt(variance), math.sqrt(after)
        step = Correlations(
            averages=beta * before_deviation / after_deviation,
            from_average=carry * before_deviation / direction,
            to_average=shared / (direction * after_deviation),
        )
        correlations.append(step)
        variance = after
    return correlations


def _kept_terms(series: PowerSeries, largest_correlation: float) -> tuple[list[float], list[float]]:
    kept = [term for term in series if term.share * largest_correlation**term.power > SMALLEST_TERM] or [series[0]]
    return [term.power for term in kept], [term.share for term in kept]


def _powers(now: Correlations, powers: list[float], shares: list[float]) -> tuple[list[float], ...]:
    """Return r^p, a_p h^p and s^p for each power p."""
    return (
        [now.averages**p for p in powers],
        [share * now.from_average**p for p, share in zip(powers, shares, strict=True)],
        [now.to_average**p for p in powers],
    )


def _repeated(name: str, schedule: Sequence | Momentum, steps: int) -> Sequence:
    if isinstance(schedule, MomentumFilter | int | float):
        return [schedule] * steps
    if len(schedule) != steps:
        raise ValueError(
            f"{name} has {len(schedule)} values and lr has {steps}; give one value for each step, or a single number"
        )
    return schedule
