"""Trajectories against a double sum over all pairs of updates, and what the two decay rules are for."""

import math
from dataclasses import replace

import numpy as np
import pytest
from reference_norms import arcsine, identity, momentum_correlation, norms_by_double_sum

from steadydecay import theory
from steadydecay.forecasting.layer_kinds import LayerKind
from steadydecay.forecasting.plan import shares_of
from steadydecay.forecasting.trajectories import SETTLED_AFTER, forecast_norms, norms_from_updates
from steadydecay.known_optimizers.table import ADAMW, LION_ENTRY, SCION

STEPS = 120
SIGN = {"role": "embedding", "norm": "sign", "lr": 0.1, "momentum": 0.8, "weight_decay": 0.5}
SIGN_KIND = LayerKind(("embedding.weight",), (6, 4), 1, SIGN, SCION, 3.0)
LION_SETTINGS = {"role": "hidden", "lr": 0.1, "betas": (0.7, 0.9), "weight_decay": 0.5}
LION_KIND = LayerKind(("up.weight",), (6, 4), 1, LION_SETTINGS, LION_ENTRY, 3.0)
ADAM_SETTINGS = {"role": "hidden", "lr": 0.1, "betas": (0.9, 0.99), "weight_decay": 0.5}
ADAM_KIND = LayerKind(("up.weight",), (6, 4), 1, ADAM_SETTINGS, ADAMW, 3.0)
ADAM_DEVIATION = math.sqrt((1 - 0.9) / (1 + 0.9))
SPECTRAL = {"role": "hidden", "norm": "spectral", "lr": 0.02, "momentum": 0.9, "weight_decay": 0.25}
SPECTRAL_KIND = LayerKind(("up.weight",), (64, 64), 1, SPECTRAL, SCION, 64.0)


def coefficients_of(kind: LayerKind) -> np.ndarray:
    """c_0, c_1, ... of the direction, d_t = Σ_j c_j g_{t-j}."""
    if kind.optimizer is ADAMW:
        return kind.settings["betas"][0] ** np.arange(STEPS)
    if kind.optimizer is LION_ENTRY:
        beta1, beta2 = kind.settings["betas"]
        return np.concatenate(([1 - beta1], beta1 * (1 - beta2) * beta2 ** np.arange(STEPS - 1)))
    return kind.settings["momentum"] ** np.arange(STEPS)


def expected_norms(kind: LayerKind, rule: str, shares: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Norms and decays of a kind with entries of ±1 in its updates (of ±1/4 under Sign, which divides by d_in).

    Adam's entries are as large as its average leaves them, and larger in the first steps.
    """
    share = np.asarray(shares)
    decays = 0.05 * share ** {"constant": 1, "corrected": 2}[rule]
    update_norm = math.sqrt(24) / (4 if "norm" in kind.settings else 1)
    update_norm *= ADAM_DEVIATION if kind.optimizer is ADAMW else 1
    lmo = identity if kind.optimizer is ADAMW else arcsine
    correlation = momentum_correlation(coefficients_of(kind), STEPS)
    updates = np.full(STEPS, update_norm)
    if kind.optimizer is ADAMW:
        left = 0.9 ** np.arange(1, STEPS + 1)
        updates *= np.sqrt(1 - left**2) / (1 - left)
    return norms_by_double_sum(0.1 * share, decays, correlation, updates, math.sqrt(3.0), lmo), decays


@pytest.mark.parametrize("schedule", ["cosine", "wsd"])
@pytest.mark.parametrize("rule", ["constant", "corrected"])
@pytest.mark.parametrize("kind", [SIGN_KIND, LION_KIND, ADAM_KIND], ids=["sign", "lion", "adam"])
def test_a_trajectory_is_the_double_sum_over_all_updates(kind: LayerKind, rule: str, schedule: str) -> None:
    shares = shares_of(schedule, STEPS, warmup=5)
    norms, decays = expected_norms(kind, rule, shares)
    found = forecast_norms(kind, rule, shares)
    assert found.rule == rule
    np.testing.assert_allclose(found.decays, decays, rtol=1e-12)
    np.testing.assert_allclose(found.norms, norms, rtol=3e-3)
    assert found.norms[0] == pytest.approx(math.sqrt(3.0))


def test_a_fused_weight_is_as_heavy_as_its_matrices_apart() -> None:
    fused_settings = SPECTRAL | {"norm": {"name": "spectral", "split_sizes": (64, 64, 64)}}
    fused = replace(SPECTRAL_KIND, shape=(192, 64), settings=fused_settings, initial_norm_sq=3 * 64.0)
    shares = shares_of("cosine", 100)
    apart, together = forecast_norms(SPECTRAL_KIND, "constant", shares), forecast_norms(fused, "constant", shares)
    np.testing.assert_allclose(together.norms, math.sqrt(3) * apart.norms, rtol=1e-9)
    assert together.steady_norm == pytest.approx(math.sqrt(3) * apart.steady_norm)


def test_measured_updates_of_the_expected_size_change_nothing() -> None:
    shares = shares_of("cosine", STEPS)
    expected = forecast_norms(SIGN_KIND, "corrected", shares)
    found = norms_from_updates(SIGN_KIND, "corrected", shares, np.full(STEPS, math.sqrt(24) / 4))
    np.testing.assert_allclose(found.norms, expected.norms, rtol=1e-12)


def test_measured_updates_enter_as_they_were_at_each_step() -> None:
    shares = shares_of("cosine", STEPS)
    update_norms = np.linspace(0.5, 2.0, STEPS)
    found = norms_from_updates(ADAM_KIND, "constant", shares, update_norms)
    lr, decays = 0.1 * np.asarray(shares), 0.05 * np.asarray(shares)
    correlation = momentum_correlation(coefficients_of(ADAM_KIND), STEPS)
    expected = norms_by_double_sum(lr, decays, correlation, update_norms, math.sqrt(3.0))
    np.testing.assert_allclose(found.norms, expected, rtol=1e-9)


@pytest.mark.parametrize("kind", [SIGN_KIND, LION_KIND, ADAM_KIND, SPECTRAL_KIND])
def test_corrected_decay_ends_where_the_norm_was_and_constant_decay_falls(kind: LayerKind) -> None:
    slow = replace(kind, settings=kind.settings | {"weight_decay": 0.005 / kind.settings["lr"]})
    shares = shares_of("wsd", 4000)
    stable = 3000
    corrected, constant = forecast_norms(slow, "corrected", shares), forecast_norms(slow, "constant", shares)
    assert corrected.norms[stable] == pytest.approx(corrected.steady_norm, rel=1e-3)
    assert corrected.norms[-1] == pytest.approx(corrected.norms[stable], rel=0.04)
    assert constant.norms[-1] < 0.75 * constant.norms[stable]


def test_the_exact_rule_holds_a_norm_that_the_corrected_one_lets_drift() -> None:
    fast = replace(SPECTRAL_KIND, settings=SPECTRAL | {"weight_decay": 0.05 / 0.02})
    shares = shares_of("wsd", 4000)
    drift = {rule: forecast_norms(fast, rule, shares) for rule in ("corrected", "exact")}
    ends = {rule: abs(one.norms[-1] / one.norms[3000] - 1) for rule, one in drift.items()}
    assert ends["corrected"] > 0.1
    assert ends["exact"] < 0.5 * ends["corrected"]


def test_the_rule_asked_for_wins_over_the_one_that_the_group_has() -> None:
    corrected = replace(SIGN_KIND, settings=SIGN | {"decay": "corrected"})
    assert forecast_norms(corrected, "constant", [1.0, 0.5]).rule == "constant"


def test_an_output_layer_keeps_constant_decay_under_every_rule() -> None:
    output = replace(SIGN_KIND, settings=SIGN | {"role": "output", "decay": "constant"})
    shares = shares_of("cosine", STEPS)
    found = forecast_norms(output, "corrected", shares)
    assert found.rule == "constant"
    np.testing.assert_array_equal(found.norms, forecast_norms(output, "constant", shares).norms)


def test_the_steady_norm_and_memory_are_those_of_the_peak() -> None:
    found = forecast_norms(SIGN_KIND, "constant", shares_of("constant", 2000))
    assert found.norms[-1] == pytest.approx(found.steady_norm, rel=1e-3)
    assert found.steady_norm**2 == pytest.approx(24 / 16 * theory.steady_norm_sq(0.1, 0.05, 0.8, lmo="sign"), rel=1e-6)
    assert found.time_constant == theory.time_constant(0.05)
    assert found.memories == pytest.approx(2000 / found.time_constant)
    assert found.settled_step == math.ceil(SETTLED_AFTER * found.time_constant)


def test_a_run_shorter_than_three_time_constants_does_not_settle() -> None:
    slow = replace(SIGN_KIND, settings=SIGN | {"weight_decay": 0.01})
    found = forecast_norms(slow, "constant", shares_of("constant", 1000))
    assert found.memories == pytest.approx(2.0, rel=0.01)
    assert found.settled_step is None


def test_without_decay_the_norm_grows_to_the_end() -> None:
    free = replace(ADAM_KIND, settings=ADAM_SETTINGS | {"weight_decay": 0.0})
    found = forecast_norms(free, "corrected", shares_of("constant", 400))
    # Each gradient adds an entry of 0.1 in all, the last ones not all of it yet.
    assert found.norms[-1] == pytest.approx(math.sqrt(3.0 + 400 * 0.01 * 24), rel=0.02)
    assert (found.steady_norm, found.time_constant, found.memories) == (math.inf, math.inf, 0.0)
    assert found.settled_step is None


def test_a_wanted_norm_stands_for_a_decay() -> None:
    wanted = {key: value for key, value in SIGN.items() if key != "weight_decay"}
    kind = replace(SIGN_KIND, settings=wanted | {"steady_norm_sq": 2.0, "weight_decay": 0.0})
    found = forecast_norms(kind, "corrected", shares_of("constant", 50))
    assert found.decays[0] == pytest.approx(theory.effective_lr(0.1, 0.8) ** 2 / 4)


def test_settings_stay_as_they_were() -> None:
    before = dict(SIGN)
    forecast_norms(SIGN_KIND, "corrected", shares_of("cosine", 10))
    assert before == SIGN


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": -0.1}, "lr is -0.1; it must be"),
        ({"lr": math.nan}, "lr is nan; it must be"),
        ({"momentum": 1.0}, "momentum is 1.0; it must be"),
        ({"weight_decay": 10.0}, "reference_lr · weight_decay is 1.0; it must be"),
    ],
)
def test_settings_outside_their_range_are_named(changes: dict[str, float], message: str) -> None:
    kind = replace(SIGN_KIND, settings=SIGN | changes)
    with pytest.raises(ValueError, match=message):
        forecast_norms(kind, "constant", [1.0])


def test_an_unknown_rule_is_named() -> None:
    with pytest.raises(ValueError, match="decay rule is 'correct'"):
        forecast_norms(SIGN_KIND, "correct", [1.0])
