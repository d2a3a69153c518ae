"""A suggested decay leads to the wanted RMS, through theory's own inverse and through the optimizer's arguments."""

import math
from dataclasses import replace

import pytest

from steadydecay import theory
from steadydecay.forecasting.layer_kinds import LayerKind
from steadydecay.forecasting.plan import shares_of
from steadydecay.forecasting.suggestion import Suggestion, end_suggestion_for, suggestion_for
from steadydecay.forecasting.trajectories import forecast_norms
from steadydecay.known_optimizers.table import ADAMW, LION_ENTRY, SCION

SETTINGS = {"role": "hidden", "lr": 0.02, "momentum": 0.9, "weight_decay": 0.1}
SPECTRAL = LayerKind(("up.weight",), (64, 16), 1, SETTINGS | {"norm": "spectral"}, SCION, 0.0)
ADAM = LayerKind(("up.weight",), (64, 16), 1, SETTINGS, ADAMW, 0.0)
LION_KIND = LayerKind(("up.weight",), (64, 16), 1, SETTINGS | {"betas": (0.9, 0.99)}, LION_ENTRY, 0.0)
UNEQUAL = {"norm": {"name": "spectral", "split_sizes": (16, 48)}}
FUSED = LayerKind(("qkv",), (64, 16), 1, SETTINGS | UNEQUAL, SCION, 0.0)


@pytest.mark.parametrize("wanted", [0.05, 1.0, 30.0])
@pytest.mark.parametrize("kind", [SPECTRAL, ADAM, LION_KIND, FUSED], ids=["spectral", "adam", "lion", "fused"])
def test_the_suggested_decay_gives_the_wanted_rms(kind: LayerKind, wanted: float) -> None:
    found = suggestion_for(kind, wanted)
    assert found is not None
    assert found.weight_decay == pytest.approx(found.decay / 0.02)
    assert found.time_constant == theory.time_constant(found.decay)
    decayed = replace(kind, settings=kind.settings | {"weight_decay": found.weight_decay})
    steady = forecast_norms(decayed, "constant", [1.0]).steady_norm
    assert steady / math.sqrt(kind.entries) == pytest.approx(wanted, rel=1e-9)


def test_one_kind_of_block_is_theorys_inverse() -> None:
    found = suggestion_for(ADAM, 0.3)
    assert found is not None
    assert found.decay == pytest.approx(theory.decay_for_norm(0.3**2, 0.02), rel=1e-9)


def test_a_run_at_the_suggested_decay_gets_there() -> None:
    found = suggestion_for(SPECTRAL, 0.5)
    assert found is not None
    decayed = replace(SPECTRAL, settings=SPECTRAL.settings | {"weight_decay": found.weight_decay})
    steps = round(5 * found.time_constant)
    norms = forecast_norms(decayed, "constant", shares_of("constant", steps)).norms
    assert norms[-1] / math.sqrt(64 * 16) == pytest.approx(0.5, rel=0.01)


@pytest.mark.parametrize("kind", [SPECTRAL, ADAM, LION_KIND], ids=["spectral", "adam", "lion"])
def test_the_suggested_steady_norm_asks_the_optimizer_for_that_decay(kind: LayerKind) -> None:
    found = suggestion_for(kind, 1.0)
    assert found is not None
    wanted = kind.settings | {"weight_decay": 0.0, "steady_norm_sq": found.steady_norm_sq}
    decays = forecast_norms(replace(kind, settings=wanted), "corrected", [1.0]).decays
    assert decays[0] == pytest.approx(found.decay, rel=1e-9)


def test_what_the_group_asked_for_before_does_not_matter() -> None:
    others = [{"weight_decay": 0.0}, {"weight_decay": 5.0}, {"weight_decay": 0.0, "steady_norm_sq": 2.0}]
    found = {suggestion_for(replace(SPECTRAL, settings=SPECTRAL.settings | other), 0.5) for other in others}
    assert len(found) == 1


def test_an_rms_below_one_update_has_no_suggestion() -> None:
    assert suggestion_for(ADAM, 0.02) is None
    assert suggestion_for(ADAM, 0.0201) is not None


@pytest.mark.parametrize("wanted", [0.0, -1.0, math.nan, math.inf])
def test_a_wanted_rms_outside_its_range_is_named(wanted: float) -> None:
    with pytest.raises(ValueError, match=rf"wanted_rms is {wanted}; it must be in \(0, inf\)"):
        suggestion_for(ADAM, wanted)


def end_norm(kind: LayerKind, decay_rule: str, weight_decay: float, shares: list[float]) -> float:
    """√E‖θ‖² after the last step of a kind without momentum and with a linear LMO, summed in float64 step by step."""
    lr, norm_sq = float(kind.settings["lr"]), kind.initial_norm_sq
    for share in shares:
        eta = lr * share * weight_decay * (share if decay_rule == "corrected" else 1.0)
        norm_sq = (1 - eta) ** 2 * norm_sq + (lr * share) ** 2 * kind.entries
    return math.sqrt(norm_sq)


@pytest.mark.parametrize(("schedule", "warmup"), [("cosine", 0), ("linear", 30), ("wsd", 10), ("constant", 0)])
@pytest.mark.parametrize("rule", ["constant", "corrected"])
@pytest.mark.parametrize(("wanted", "start"), [(0.1, 0.02), (0.05, 1.0), (0.2, 0.0)])
def test_the_decay_for_the_end_ends_there(rule: str, schedule: str, warmup: int, wanted: float, start: float) -> None:
    plain = replace(ADAM, settings=SETTINGS | {"betas": (0.0, 0.99)}, initial_norm_sq=start**2 * 64 * 16)
    shares = shares_of(schedule, 300, warmup)
    found = end_suggestion_for(plain, rule, shares, wanted, suggestion_for(plain, wanted))
    assert isinstance(found, Suggestion)
    assert found.rms == wanted and found.weight_decay == pytest.approx(found.decay / 0.02)
    ended = end_norm(plain, rule, found.weight_decay, shares)
    assert ended / math.sqrt(plain.entries) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("rule", ["constant", "corrected", "exact"])
@pytest.mark.parametrize("kind", [SPECTRAL, ADAM, LION_KIND, FUSED], ids=["spectral", "adam", "lion", "fused"])
def test_the_forecast_agrees_and_the_argument_of_that_rule_asks_for_it(kind: LayerKind, rule: str) -> None:
    shares = shares_of("cosine", 500, 20)
    found = end_suggestion_for(kind, rule, shares, 0.1, suggestion_for(kind, 0.1))
    assert isinstance(found, Suggestion)
    decayed = replace(kind, settings=kind.settings | {"weight_decay": found.weight_decay})
    assert forecast_norms(decayed, rule, shares).norms[-1] / 32 == pytest.approx(0.1, rel=1e-6)
    asked = replace(kind, settings=kind.settings | {"weight_decay": 0.0, "steady_norm_sq": found.steady_norm_sq})
    assert forecast_norms(asked, rule, [1.0]).decays[0] == pytest.approx(found.decay, rel=1e-9)


def test_the_end_differs_from_the_steady_state_as_the_schedule_falls() -> None:
    # From the wanted norm on, over 10 time constants: under constant λ the norm falls with the lr.
    kind = replace(ADAM, initial_norm_sq=0.3**2 * ADAM.entries)
    steady = suggestion_for(kind, 0.3)
    assert steady is not None
    shares = shares_of("cosine", round(10 * steady.time_constant))
    constant, corrected = (end_suggestion_for(kind, rule, shares, 0.3, steady) for rule in ("constant", "corrected"))
    assert isinstance(constant, Suggestion) and isinstance(corrected, Suggestion)
    assert constant.decay < 0.6 * steady.decay
    assert corrected.decay == pytest.approx(steady.decay, rel=0.05)


@pytest.mark.parametrize(
    ("wanted", "steps", "reason"),
    [
        (3.0, 20, "even without decay it ends at only 0.0"),
        (30.0, 1, "even without decay it ends at only 0.0"),
        (0.005, 20, "the last updates"),
    ],
)
def test_an_end_that_no_decay_gives_has_a_reason(wanted: float, steps: int, reason: str) -> None:
    found = end_suggestion_for(ADAM, "corrected", shares_of("constant", steps), wanted, None)
    assert isinstance(found, str) and reason in found
