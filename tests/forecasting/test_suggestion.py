"""A suggested decay leads to the wanted RMS, through theory's own inverse and through the optimizer's arguments."""

import math
from dataclasses import replace

import pytest

from steadydecay import theory
from steadydecay.forecasting.layer_kinds import LayerKind
from steadydecay.forecasting.plan import shares_of
from steadydecay.forecasting.suggestion import suggestion_for
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
    with pytest.raises(ValueError, match=rf"wanted_rms is {wanted}; legal is \(0, inf\)"):
        suggestion_for(ADAM, wanted)
