"""The steady state of the weight norm, and its inverses (arXiv 2512.08217, Eqs. 1-4; exact in the decay).

Notation: θ ← (1-η)θ - γu, with γ = `lr`, η = `decay` (all of it, per step), β = `momentum`,
S = `steady_norm_sq` = E‖θ‖² / E‖u‖².
"""

import math

from steadydecay.theory.filters import Momentum, MomentumFilter, momentum_filter
from steadydecay.theory.lmo_correlation import Lmo, power_series
from steadydecay.theory.validation import require_in

# Newton's method converges quadratically from a start that is right in both limits. 8 steps reach the last digit of S
# for every decay and momentum (tests/theory/test_steady_state.py), and a fixed count needs no branch on a tensor.
NEWTON_STEPS = 8
# Two roots meet at η = 1 without momentum, where the derivative is zero. Without this the result would be 0/0.
TINY = 1e-30
# The largest γ_eff/γ for which 1-β has enough digits; at 10⁸ β rounds to 1.
LARGEST_LR_RATIO = 1e6


def effective_lr(lr: float, momentum: Momentum, nesterov: bool = False) -> float:
    """Return γ_eff = γ / √(Σ c_j²), all that one minibatch adds to the weights, for normalised updates (Eq. 3).

    For an exponential average this is γ √((1+β)/(1-β)).

    Args:
        lr: The learning rate γ ≥ 0.
        momentum: β in [0, 1) in PyTorch's convention (0.9, not 0.1), or a filter.
        nesterov: Whether the momentum looks ahead by one gradient.

    Raises:
        ValueError: An argument is outside its range.

    >>> effective_lr(0.01, 0.0)
    0.01
    >>> round(effective_lr(0.01, 0.9), 12)
    0.043588989435
    """
    require_in("lr", lr, 0, include_low=True)
    return lr / math.sqrt(momentum_filter(momentum, nesterov).energy)


def steady_norm_sq(
    lr: float, decay: float, momentum: Momentum = 0.0, *, nesterov: bool = False, lmo: Lmo = "linear"
) -> float:
    """Return S = E‖θ‖²/E‖u‖² at the steady state, the squared weight norm in units of the squared update norm.

    It is γ²/(η(2-η)) · [1 + 2Σ_{k≥1} (1-η)^k φ(ρ_k)], which is Eq. 3 of arXiv 2512.08217 before its approximation.

    Args:
        lr: The learning rate γ ≥ 0.
        decay: η in (0, 1), the share of the weight that one step removes (PyTorch's lr · weight_decay).
        momentum: β in [0, 1) of a *normalised* update, or a filter. Use 0 for Adam, whose second moment normalises.
        nesterov: Whether the momentum looks ahead by one gradient.
        lmo: The law of correlation φ, as in `correlation`. "linear" is the paper's: updates are as correlated as the
            momentum.

    Raises:
        ValueError: An argument is outside its range.

    >>> steady_norm_sq(1.0, 0.5)
    1.3333333333333333
    >>> round(steady_norm_sq(0.04, 1e-6, 0.9) / (effective_lr(0.04, 0.9) ** 2 / (2 * 1e-6)), 4)
    1.0
    >>> round(steady_norm_sq(0.04, 1e-6, 0.9, lmo="sign") / steady_norm_sq(0.04, 1e-6, 0.9), 2)
    0.7
    """
    require_in("lr", lr, 0, include_low=True)
    _require_decay(decay)
    return lr**2 / _lr_sq_over_norm_sq(decay, momentum_filter(momentum, nesterov), lmo)


def decay_for_norm(
    steady_norm_sq: float, lr: float, momentum: Momentum = 0.0, *, nesterov: bool = False, lmo: Lmo = "linear"
) -> float:
    """Return the η that holds E‖θ‖²/E‖u‖² at `steady_norm_sq`. This inverts the function of that name, exactly in the
    decay.

    Without momentum it is η = w/(1+√(1-w)) with w = γ²/S, which loses no digits as γ → 0.

    Args:
        steady_norm_sq: S, which must be above lr².
        lr: The learning rate γ ≥ 0; 0 gives 0.
        momentum, nesterov, lmo: As in `steady_norm_sq`.

    Raises:
        ValueError: An argument is outside its range. S ≤ lr² would need a decay of more than the whole weight.

    >>> decay_for_norm(4 / 3, 1.0)
    0.5
    >>> decay_for_norm(2.0, 0.0, 0.9)
    0.0
    >>> round(decay_for_norm(steady_norm_sq(1.0, 0.1, 0.9, lmo="sign"), 1.0, 0.9, lmo="sign"), 12)
    0.1
    """
    require_in("lr", lr, 0, include_low=True)
    remedy = f"one step of lr={lr!r} alone is larger; lower lr or raise the norm"
    require_in("steady_norm_sq", steady_norm_sq, lr**2, remedy=remedy)
    ratio, momentum = lr**2 / steady_norm_sq, momentum_filter(momentum, nesterov)
    return ratio * decay_over_lr_sq(ratio, momentum) if lmo == "linear" else _bisect_decay(ratio, momentum, lmo)


def perpendicular_share(
    decay: float, momentum: Momentum = 0.0, *, nesterov: bool = False, lmo: Lmo = "linear"
) -> float:
    """Return the share of E‖θ‖² that the part of the updates perpendicular to the weights adds.

    It is 1/[1 + 2Σ_k (1-η)^k φ(ρ_k)]. The rest comes from updates that repeat earlier ones. The share is small with
    momentum, which is why AdamW renormalised after every step (arXiv 2512.08217, Algorithm 1) behaves as AdamW does.

    Args:
        decay: η in (0, 1), the share of the weight that one step removes.
        momentum, nesterov, lmo: As in `steady_norm_sq`.

    Raises:
        ValueError: An argument is outside its range.

    >>> round(1 / perpendicular_share(1e-9, 0.9))
    19
    >>> perpendicular_share(0.1)
    1.0
    """
    _require_decay(decay)
    return 1 / _momentum_factor(decay, momentum_filter(momentum, nesterov), lmo)


def momentum_for(effective_lr: float, lr: float, *, nesterov: bool = False) -> float:
    """Return the β with which `lr` has the given effective learning rate.

    For an exponential average this is (r-1)/(r+1) with r = (γ_eff/γ)².

    Args:
        effective_lr: γ_eff in [lr, 10⁶ lr).
        lr: The learning rate γ > 0.
        nesterov: Whether the momentum looks ahead by one gradient.

    Raises:
        ValueError: `lr` is not positive, or `effective_lr` is below `lr`, because momentum can only raise it, or it is
            so far above `lr` that β would round to 1.

    >>> momentum_for(0.01, 0.01)
    0.0
    >>> round(momentum_for(effective_lr(0.01, 0.9), 0.01), 12)
    0.9
    """
    require_in("lr", lr, 0)
    remedy = f"momentum raises it from lr={lr!r} by a factor of 1 to {LARGEST_LR_RATIO:g}, so change lr itself"
    require_in("effective_lr", effective_lr, lr, lr * LARGEST_LR_RATIO, include_low=True, remedy=remedy)
    ratio = lr / effective_lr
    if not nesterov:
        return (1 - ratio) * (1 + ratio) / (1 + ratio**2)
    return _bisect_momentum(wanted_energy=ratio**2)


def time_constant(decay: float) -> float:
    """Return the number of steps in which the squared norm forgets its start to 1/e: -1/(2 ln(1-η)) ≈ 1/(2η).

    Args:
        decay: η in [0, 1), the share of the weight that one step removes. With 0 the norm never forgets.

    Raises:
        ValueError: `decay` is outside [0, 1).

    >>> round(time_constant(0.01), 3)
    49.75
    """
    require_in("decay", decay, 0, 1, include_low=True, remedy="decay is lr · weight_decay")
    return math.inf if decay == 0 else -0.5 / math.log1p(-decay)


def lr_sq_over_norm_sq(decay: float, momentum: MomentumFilter) -> float:
    """Return w = γ²/S from the decay alone, for a linear LMO: η(2-η) / [1 + 2 (1-η)ρ_1/(1-q)], q = (1-η)β.

    It also takes 0-d tensors.
    """
    forgotten = 1 - momentum.decay + decay * momentum.decay  # 1 - q, without its cancellation
    momentum_factor = 1 + 2 * (1 - decay) * momentum.first_correlation / forgotten
    return decay * (2 - decay) / momentum_factor


def decay_over_lr_sq(lr_sq_over_norm_sq: float, momentum: MomentumFilter) -> float:
    """Return h = η/w, the decay that holds S in units of w = γ²/S. It is finite at w = 0, where η ∝ γ_eff² is exact.

    It solves h(2-η)(1-β+βη) = 1 + (2ρ_1-β)(1-η) with η = wh, which is S(η) = γ²/w with its denominators cleared. A w
    above 1 counts as 1, because no decay can hold so small a norm. It takes 0-d tensors and does not branch on a value.
    """
    w, beta = _clipped(lr_sq_over_norm_sq, 0.0, 1.0), momentum.decay
    slope = 2 * momentum.first_correlation - beta
    # h³ ≈ h² in βw²h³ leaves a quadratic, solved without cancellation. It is exact for η → 0, for η = 1 and for β = 0.
    linear = 2 * (1 - beta) + slope * w
    discriminant = linear**2 + 4 * (3 * beta - 1 - beta * w) * w * (1 + slope)
    h = 2 * (1 + slope) / (linear + _clipped(discriminant, 0.0, math.inf) ** 0.5)
    for _ in range(NEWTON_STEPS):
        decay = w * h
        memory = 1 - beta + beta * decay
        residual = h * (2 - decay) * memory - 1 - slope * (1 - decay)
        derivative = (2 - 2 * decay) * memory + beta * decay * (2 - decay) + slope * w
        h = h - residual * derivative / (derivative**2 + TINY)
    return h


def _clipped(value: float, low: float, high: float) -> float:
    clip = getattr(value, "clip", None)
    return min(max(value, low), high) if clip is None else clip(low, high)


def _bisect_momentum(wanted_energy: float) -> float:
    low, high = 0.0, 1.0
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if momentum_filter(middle, True).energy > wanted_energy else (low, middle)
    return low


def _momentum_factor(decay: float, momentum: MomentumFilter, lmo: Lmo) -> float:
    """Return 1 + 2Σ_k (1-η)^k φ(ρ_k), where Σ_k (1-η)^k (ρ_1 β^(k-1))^p is a geometric series for each power p of φ."""
    kept = 1 - decay
    first, beta = momentum.first_correlation, momentum.decay
    return 1 + 2 * math.fsum(a * kept * first**p / (1 - kept * beta**p) for p, a in power_series(lmo))


def _lr_sq_over_norm_sq(decay: float, momentum: MomentumFilter, lmo: Lmo) -> float:
    if lmo == "linear":
        return lr_sq_over_norm_sq(decay, momentum)
    return decay * (2 - decay) / _momentum_factor(decay, momentum, lmo)


def _bisect_decay(lr_sq_over_norm_sq: float, momentum: MomentumFilter, lmo: Lmo) -> float:
    """Find η by bisection: w rises with η and lies between η(2-η) and η(2-η) divided by the factor at η = 0."""
    low, high = lr_sq_over_norm_sq / 2, min(1.0, lr_sq_over_norm_sq * _momentum_factor(0.0, momentum, lmo))
    while low < (middle := (low + high) / 2) < high:
        is_low = _lr_sq_over_norm_sq(middle, momentum, lmo) < lr_sq_over_norm_sq
        low, high = (middle, high) if is_low else (low, middle)
    return low


def _require_decay(decay: float) -> None:
    require_in("decay", decay, 0, 1, remedy="decay is lr · weight_decay, the share of the weight that one step removes")
