"""Which layers nothing reads, by sizes and order."""

from typing import Any

import pytest
from own_models import Model, of_class, parameter
from torch import nn

from steadydecay.groups.intrinsic_roles import intrinsic_role
from steadydecay.groups.layers import Layer, feeds, layers_of
from steadydecay.groups.loose_ends import is_normalised, loose_ends, possible_ends
from steadydecay.groups.places import Place, places_of


def layers_and_places(model: nn.Module) -> tuple[list[Layer], list[Place]]:
    places = places_of(model)
    return layers_of(places, {place.name: intrinsic_role(place, is_router=False) for place in places}), places


def ends(model: nn.Module, of: Any = loose_ends) -> list[str]:
    layers, places = layers_and_places(model)
    return [layer.path for layer in of(layers, layers, places)]


def linear(columns: int, rows: int) -> nn.Linear:
    return nn.Linear(columns, rows)


CASES: dict[str, tuple[nn.Module, list[str], list[str]]] = {
    # name: (model, loose ends, possible ends besides)
    "a chain": (Model(a=linear(8, 16), b=linear(16, 5)), ["b"], []),
    "two ends": (Model(a=linear(8, 16), b=linear(16, 5), c=linear(16, 3)), ["b", "c"], []),
    "what comes before does not read": (Model(a=linear(60, 16), b=linear(16, 60)), ["b"], []),
    "a square layer tells nothing": (Model(a=linear(8, 16), b=linear(16, 16)), [], []),
    "flattened": (Model(a=nn.Conv2d(3, 16, 3), b=linear(16 * 49, 5)), ["b"], []),
    "joined with another": (Model(a=linear(8, 16), b=linear(32, 5)), ["b"], ["a"]),
    "in pieces, as a gated layer": (Model(a=linear(16, 64), b=linear(32, 16), c=linear(16, 5)), ["c"], []),
    "a modulation": (Model(a=linear(16, 32), b=linear(16, 5)), ["b"], []),
    "few features": (Model(a=linear(16, 1), b=linear(1, 8), c=linear(8, 5)), ["c"], ["a"]),
    "read by a recurrence": (Model(a=linear(8, 16), b=nn.LSTM(16, 20), c=linear(20, 5)), ["c"], []),
    "read by attention": (Model(a=linear(8, 16), b=nn.MultiheadAttention(16, 2), c=linear(16, 5)), ["c"], []),
    "normalised": (Model(a=linear(8, 12), b=nn.LayerNorm(12), c=linear(16, 5)), ["c"], []),
    "keys of fewer heads": (Model(k_proj=linear(32, 12), o=linear(32, 5)), ["o"], []),
    "a table does not read": (Model(a=linear(8, 16), b=nn.Embedding(9, 16)), ["a"], []),
    "depthwise": (Model(a=nn.Conv2d(3, 16, 1), b=nn.Conv2d(16, 16, 3, groups=16), c=nn.Conv2d(16, 5, 1)), ["c"], []),
    "transposed": (Model(a=nn.ConvTranspose2d(8, 16, 2), b=nn.ConvTranspose2d(16, 3, 2)), ["b"], []),
    "own matrices, either way round": (
        Model(a=of_class("Mix", weight=parameter(8, 16)), b=of_class("Mix", weight=parameter(5, 16))),
        ["b"],
        ["a"],
    ),
    "bare parameters above layers": (Model(out_proj=parameter(16, 5), body=linear(8, 16)), ["out_proj"], []),
}


@pytest.mark.parametrize("case", CASES)
def test_ends(case: str) -> None:
    model, loose, possible = CASES[case]
    assert ends(model) == loose
    assert [path for path in ends(model, possible_ends) if path not in loose] == possible


def test_layers_say_what_they_read_and_write() -> None:
    model = Model(
        conv=nn.ConvTranspose2d(4, 6, 2, groups=2),
        table=nn.Embedding(9, 8),
        own=of_class("Dense", w=parameter(8, 3), b=parameter(3)),
        two=of_class("SplineLinear", base_weight=parameter(5, 8), spline_weight=parameter(5, 8, 4)),
        scorer=nn.Bilinear(8, 7, 2),
        mixing=parameter(8, 8),
    )
    layers, _ = layers_and_places(model)
    assert {layer.path: (layer.reads, layer.writes, layer.kind) for layer in layers} == {
        "conv": (4, 6, "convolution"),
        "own": (8, 3, "matrix"),
        "two.base_weight": (8, 5, "Linear"),
        "two.spline_weight": (8, 5, "Linear"),
        "scorer": (8, 2, "Linear"),
    }


def test_a_matrix_that_may_be_turned_feeds_nothing_that_comes_before() -> None:
    layers, _ = layers_and_places(Model(head=linear(16, 8), own=of_class("Margin", weight=parameter(16, 5))))
    head, own = layers
    assert not feeds(own, head)
    assert feeds(*layers_and_places(Model(later=linear(8, 5), first=linear(16, 8)))[0][::-1])


def test_a_normalisation_after_a_convolution() -> None:
    layers, places = layers_and_places(nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.Conv2d(8, 5, 1)))
    assert [is_normalised(layer, places) for layer in layers] == [True, False]
