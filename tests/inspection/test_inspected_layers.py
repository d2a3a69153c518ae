"""Rows: ratios, marks and orders."""

import math
from typing import Any, cast

import pytest

from steadydecay.inspection.inspected_layers import Layer, sorted_layers
from steadydecay.inspection.layer_settings import LayerSettings
from steadydecay.inspection.stored_weight import StoredWeight
from steadydecay.inspection.weight_measures import Measures
from steadydecay.known_optimizers.table import ADAMW


def layer(name: str, norm: float, decay: float = 0.5, *, size: int = 4, spectral: tuple[float, ...] = ()) -> Layer:
    """Of AdamW at lr 1: its prediction is √(size / (η(2-η)))."""
    weight = StoredWeight(name, (size,), "float32")
    settings = LayerSettings(ADAMW, {"lr": 1.0, "weight_decay": decay}) if decay else None
    non_finite = int(math.isnan(norm))
    return Layer(weight, name, "hidden", Measures(norm / math.sqrt(size), norm, spectral, non_finite), settings)


STEADY = math.sqrt(4 / 0.75)


def names(layers: list[Layer], by: Any) -> str:
    return "".join(one.name for one in sorted_layers(layers, by))


def test_the_ratio_is_measured_over_predicted() -> None:
    one = layer("a", 1.1 * STEADY)
    assert one.predicted_norm == pytest.approx(STEADY)
    assert one.predicted_rms == pytest.approx(STEADY / 2)
    assert one.ratio == pytest.approx(1.1)
    assert one.is_predicted


@pytest.mark.parametrize(("ratio", "is_far"), [(0.79, True), (0.81, False), (1.19, False), (1.21, True), (0.0, True)])
def test_a_ratio_outside_the_tolerance_is_far(ratio: float, is_far: bool) -> None:
    assert layer("a", ratio * STEADY).is_far(0.2) is is_far


def test_a_layer_without_a_prediction_is_not_far_unless_it_is_not_finite() -> None:
    assert not layer("a", 5.0, decay=0).is_far(0.2) and not layer("a", 5.0, decay=0).is_predicted
    assert layer("a", math.nan, decay=0).is_far(0.2) and layer("a", math.nan).is_far(0.2)


def test_ratios_are_sorted_by_their_distance_from_one_either_way() -> None:
    layers = [
        layer("near", STEADY),
        layer("none", 1.0, decay=0),
        layer("half", STEADY / 2),
        layer("triple", 3 * STEADY),
    ]
    layers += [layer("zero", 0.0), layer("broken", math.nan)]
    assert [one.name for one in sorted_layers(layers, "ratio")] == ["broken", "zero", "triple", "half", "near", "none"]


def test_sizes_and_norms_come_largest_first_and_missing_ones_last() -> None:
    layers = [
        layer("a", 2.0, spectral=(1.0, 5.0)),
        layer("b", 3.0, size=100, spectral=(4.0,)),
        layer("c", 1.5, size=1),
        layer("d", math.nan),
    ]
    assert names(layers, "norm") == "dbac"
    assert names(layers, "rms") == "dcab"
    assert names(layers, "spectral") == "dabc"
    assert names(layers, "size") == "dbac"


def test_names_come_in_the_order_of_layers() -> None:
    layers = [layer(name, 1.0) for name in ("l.10.weight", "l.2.bias", "l.2.weight")]
    assert [one.name for one in sorted_layers(layers, "name")] == ["l.2.weight", "l.2.bias", "l.10.weight"]


def test_an_unknown_order_is_refused() -> None:
    with pytest.raises(ValueError, match="sort is 'colour'; it must be one of ratio, rms, norm, spectral, name, size"):
        sorted_layers([], cast(Any, "colour"))
