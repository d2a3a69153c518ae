"""Measures of known vectors: the geometry of a step by hand, sums over layers, what there is not."""

import math
from typing import Any

import pytest
import torch

from steadydecay.monitor.numbers import Numbers, geometric_mean, measures_of, together


def numbers(before: list[float], added: list[float], decay: float = 0.0, **others: Any) -> Numbers:
    """A step θ ← (1-η)θ + added."""
    start, change = (torch.tensor(values, dtype=torch.float64) for values in (before, added))
    after = (1 - decay) * start + change
    return Numbers(
        size=len(before),
        before_sq=float(start.square().sum()),
        after_sq=float(after.square().sum()),
        kept_sq=(1 - decay) * float(start.square().sum()),
        added_sq=float(change.square().sum()),
        inner=float(start @ change),
        **others,
    )


def test_a_step_across_the_weight_turns_it_and_one_along_it_does_not() -> None:
    across = measures_of(numbers([3.0, 0.0], [0.0, 0.3]))
    assert across["rotation"] == pytest.approx(math.atan(0.1))
    assert (across["update_cosine"], across["parallel_share"], across["perpendicular_share"]) == (0, 0, 1)
    growing, shrinking = (measures_of(numbers([3.0, 0.0], [sign * 0.3, 0.0])) for sign in (1, -1))
    assert (growing["update_cosine"], shrinking["update_cosine"]) == pytest.approx((-1, 1)), "u is subtracted"
    assert growing["parallel_share"] == shrinking["parallel_share"] == pytest.approx(1)
    assert (growing["rotation"], shrinking["rotation"]) == pytest.approx((0, 0), abs=1e-8)


def test_the_rotation_is_the_angle_between_before_and_after_however_small() -> None:
    measures = measures_of(numbers([3.0, 1.0, 2.0], [1e-9, -3e-9, 2e-9], decay=0.1))
    before, added = torch.tensor([3.0, 1, 2]).double(), torch.tensor([1e-9, -3e-9, 2e-9]).double()
    across = added - (before @ added) / (before @ before) * before
    assert measures["rotation"] == pytest.approx(float(across.norm() / (0.9 * before.norm())), rel=1e-6)
    assert measures_of(numbers([1.0, 0.0], [-2.0, 1.0]))["rotation"] == pytest.approx(3 * math.pi / 4)


def test_norms() -> None:
    others = {"gradient_sq": 4.0, "momentum_sq": 9.0, "predicted_sq": 100.0, "predicted_measured_sq": 25.0}
    measures = measures_of(numbers([3.0, 4.0], [0.0, 0.0], time_constants=0.5, drift=-0.25, **others))
    expected = {"weight_norm": 5, "weight_rms": math.sqrt(12.5), "gradient_norm": 2, "momentum_norm": 3}
    expected |= {"update_norm": 0, "predicted_norm": 10, "predicted_norm_measured": 5, "norm_ratio": 0.5}
    assert measures == pytest.approx(expected | {"rotation": 0, "time_constants": 0.5, "drift": -0.25})


def test_what_there_is_not_has_no_entry() -> None:
    names = set(measures_of(numbers([0.0, 0.0], [1.0, 0.0])))
    assert names == {"weight_norm", "weight_rms", "update_norm", "time_constants"}


def test_what_is_not_finite_is_said() -> None:
    broken = numbers([1.0, 2.0], [math.nan, 0.0])
    measures = measures_of(together([broken, numbers([1.0], [math.inf]), numbers([1.0], [-math.inf])]))
    assert math.isnan(measures["weight_norm"]) and math.isnan(measures["update_norm"])


def test_layers_together_are_one_vector() -> None:
    parts = [numbers([3.0, 1.0], [0.2, -0.1], decay=0.1), numbers([2.0], [0.5], decay=0.1)]
    whole = numbers([3.0, 1.0, 2.0], [0.2, -0.1, 0.5], decay=0.1)
    assert measures_of(together(parts)) == pytest.approx(measures_of(whole))


def test_layers_together_keep_what_some_have_and_predict_only_for_all() -> None:
    one = numbers([1.0], [0.1], gradient_sq=4.0, predicted_sq=1.0, time_constants=3.0, drift=0.5, contribution=1.0)
    other = numbers([3.0], [0.1], time_constants=2.0, sign_norm=7.0)
    one.spectral_norms, other.spectral_norms = [2.0, 8.0], [4.0]
    both = together([one, other])
    assert (both.gradient_sq, both.momentum_sq, both.predicted_sq) == (4.0, None, None)
    assert (both.time_constants, both.drift, both.sign_norm, both.contribution) == (2.0, 0.5, 7.0, 1.0)
    assert both.spectral_norms == [2.0, 8.0, 4.0]
    assert measures_of(both)["spectral_norm"] == 8
    assert geometric_mean(both.spectral_norms) == pytest.approx(4)
