import math
from typing import Any

import numpy as np
import pytest

from steadydecay.theory import correlation, forecast, lion_average, momentum_for, steady_norm_sq
from steadydecay.theory.filters import momentum_filter

STEPS = 160
COSINE = [0.5 * (1 + math.cos(math.pi * step / STEPS)) for step in range(STEPS)]
LMOS = ["linear", "sign", ("vector", 4), ("spectral", 8, 16)]
MOMENTA: dict[str, Any] = {
    "none": 0.0,
    "average": 0.9,
    "lion": lion_average(0.8, 0.95),
    "schedule": [momentum_for(max(0.1, 0.436 * shape), 0.1) for shape in COSINE],
    "lion schedule": [lion_average(0.5 + 0.4 * shape, 0.6 + 0.3 * shape) for shape in COSINE],
}


def slow_norms_sq(lr: Any, decay: Any, momentum: Any, nesterov: bool, lmo: Any) -> list[float]:
    """Every direction as its coefficients on every gradient; every pair of updates correlated on its own."""
    filters = [momentum_filter(one, nesterov) for one in momentum]
    steps = len(lr)
    average, directions = np.zeros(steps), []
    for step, (carry, beta, _) in enumerate(filters):
        gradient = np.eye(steps)[step]
        direction = carry * average + (1 - carry) * gradient
        directions.append(direction / np.linalg.norm(direction))
        average = beta * average + (1 - beta) * gradient
    momentum_correlations = np.clip(np.array(directions) @ np.array(directions).T, 0, 1)
    updates = np.vectorize(lambda rho: correlation(rho, lmo))(momentum_correlations)
    norms_sq, weights = [], np.zeros(steps)
    for step in range(steps):
        weights *= 1 - decay[step]
        weights[step] = -lr[step]
        norms_sq.append(float(weights @ updates @ weights))
    return norms_sq


@pytest.mark.parametrize("lmo", LMOS)
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", MOMENTA)
def test_forecast_is_the_sum_over_all_pairs_of_updates(momentum: str, nesterov: bool, lmo: Any) -> None:
    lr = [0.1 * shape for shape in COSINE]
    decay = [0.2 * shape**2 for shape in COSINE]
    chosen = MOMENTA[momentum]
    each = chosen if isinstance(chosen, list) else [chosen] * STEPS
    slow = slow_norms_sq(lr, decay, each, nesterov, lmo)
    assert forecast(lr, decay, chosen, nesterov=nesterov, lmo=lmo) == pytest.approx(slow, rel=2e-3)


@pytest.mark.parametrize("lmo", LMOS)
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.95, lion_average(0.9, 0.99), lion_average(0.9, 0.0)])
@pytest.mark.parametrize("decay", [0.02, 0.3, 0.9])
def test_a_long_constant_schedule_ends_at_the_steady_state(decay: float, momentum: Any, lmo: Any) -> None:
    last = forecast([0.3] * 3000, decay, momentum, lmo=lmo)[-1]
    assert last == pytest.approx(steady_norm_sq(0.3, decay, momentum, lmo=lmo), rel=2e-5)


def test_initial_weights_decay_and_add_up() -> None:
    from_zero = forecast([0.1] * 20, 0.1, 0.9, lmo="sign")
    from_ten = forecast([0.1] * 20, 0.1, 0.9, lmo="sign", initial_norm_sq=10.0)
    initial = [late - early for late, early in zip(from_ten, from_zero, strict=True)]
    assert initial == pytest.approx([10 * 0.9 ** (2 * step) for step in range(1, 21)])


def test_zero_lr_only_decays() -> None:
    assert forecast([0.0, 0.0], [0.5, 0.0], 0.9, initial_norm_sq=4.0) == [1.0, 1.0]


def test_a_number_stands_for_a_constant_schedule() -> None:
    lr = [0.1] * 30
    assert forecast(lr, 0.01, 0.9) == forecast(lr, [0.01] * 30, [0.9] * 30)
    arrays: list[Any] = [np.array(lr), np.full(30, 0.01), np.full(30, 0.9)]
    assert forecast(*arrays) == pytest.approx(forecast(lr, 0.01, 0.9))


def test_100_000_steps_are_quick() -> None:
    """Counts work, not time: the powers of a constant momentum are taken once it has filled up."""
    norms_sq = forecast([0.1] * 100_000, 0.01, 0.9, lmo=("spectral", 64, 64))
    assert norms_sq[-1] == pytest.approx(norms_sq[5000], rel=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], 0.1), r"^lr is an empty schedule; it must have one value for each step$"),
        (([0.1, -0.1], 0.1), r"^lr\[1\] is -0\.1; it must be in \[0, inf\)$"),
        (([math.nan], 0.1), r"^lr\[0\] is nan; it must"),
        (([math.inf], 0.1), r"^lr\[0\] is inf; it must"),
        (([0.1], 1.0), r"^decay\[0\] is 1\.0; it must be in \[0, 1\.0\)$"),
        (([0.1, 0.1], [0.1, math.nan]), r"^decay\[1\] is nan"),
        (([0.1, 0.1], [0.1]), r"^decay has 1 values and lr has 2; give one value for each step, or a single number$"),
        (([0.1], 0.1, [0.9, 0.9]), r"^momentum has 2 values and lr has 1"),
        (([0.1], 0.1, 1.0), r"^momentum is 1\.0; it must be in \[0, 1\): PyTorch's"),
        (([0.1, 0.1], 0.1, [0.9, -0.5]), r"^momentum is -0\.5"),
        (([0.1], 0.1, lion_average(0.9, 1.0)), r"^momentum\.decay is 1\.0"),
    ],
)
def test_what_is_out_of_range_is_named(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        forecast(*arguments)


@pytest.mark.parametrize(("key", "value"), [("initial_norm_sq", -1.0), ("initial_norm_sq", math.nan), ("lmo", "rms")])
def test_a_wrong_option_is_named(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{key} is "):
        forecast([0.1], 0.1, **{key: value})
