"""Layers, measures and groups by patterns of their names, from a watch of a small model."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import steadydecay as sd
from steadydecay.monitor.numbers import MEASURES

DOCS = Path(__file__).parents[2] / "docs" / "monitor.md"


@pytest.fixture
def handle() -> Any:
    torch.manual_seed(0)
    block = nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6))
    model = nn.Sequential(nn.Embedding(9, 6), block, nn.Linear(6, 9))
    optimizer = sd.ScionC(sd.param_groups(model, "scion", lr=0.1, weight_decay=0.1), 0.1)
    watched = sd.watch(optimizer)
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.arange(9)).square().mean().backward()
        optimizer.step()
    return watched


def layers_in(metrics: dict[str, float]) -> set[str]:
    return {key.split("/")[1] for key in metrics if key.startswith("layer/")}


def test_without_a_choice_there_is_everything(handle: Any) -> None:
    record, metrics = handle.record(), handle.metrics()
    assert len(metrics) == sum(len(found) for kind in ("layers", "groups") for found in record[kind].values())
    assert handle.metrics("*", "*", "*") == metrics


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("1.0.*", {"1.0.weight", "1.0.bias"}),
        (["0.weight", "*.bias"], {"0.weight", "1.0.bias", "1.1.bias", "2.bias"}),
        (("2.weight",), {"2.weight"}),
        ((), set()),
    ],
)
def test_layers_by_pattern(layers: Any, expected: set[str], handle: Any) -> None:
    everything, found = handle.metrics(), handle.metrics(layers=layers)
    assert layers_in(found) == expected
    assert found.items() <= everything.items()
    assert {key for key in everything if key.startswith("group/")} <= set(found), "groups are chosen apart"


def test_one_measure_of_one_layer_is_one_number(handle: Any) -> None:
    found = handle.metrics(layers="2.weight", measures="weight_norm", groups=())
    assert list(found) == ["layer/2.weight/weight_norm"]
    assert found["layer/2.weight/weight_norm"] == handle.metrics()["layer/2.weight/weight_norm"]


def test_measures_and_groups_by_pattern(handle: Any) -> None:
    found = handle.metrics(layers=(), measures=["norm_ratio*", "lr"], groups="hid*")
    assert set(found) == {f"group/hidden/{measure}" for measure in ("norm_ratio", "norm_ratio_at_peak", "lr")}


def test_a_measure_that_a_layer_has_not_is_left_out_and_no_error(handle: Any) -> None:
    found = handle.metrics(measures="spectral_norm", groups=())
    assert layers_in(found) == {"0.weight", "1.0.weight", "2.weight"}


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (
            {"layers": "h.0.*"},
            r"^layers has pattern 'h.0.\*', which matches none of 7 names; it must match one, and the nearest are",
        ),
        ({"measures": "norm_rato"}, r"^measures has pattern 'norm_rato', which matches none .*'norm_ratio'"),
        ({"measures": ["weight_norm", ""]}, r"^measures has pattern '', which matches none"),
        ({"groups": "hiden"}, r"^groups has pattern 'hiden', which matches none .*'hidden'"),
    ],
)
def test_a_pattern_that_matches_nothing_is_named_with_the_nearest(choice: Any, words: str, handle: Any) -> None:
    with pytest.raises(ValueError, match=words):
        handle.metrics(**choice)


@pytest.mark.parametrize("patterns", [3, [1, 2], b"x"])
def test_what_is_no_pattern_is_named(patterns: Any, handle: Any) -> None:
    with pytest.raises(TypeError, match=r"^layers is .*; it must be a pattern of names, a list of patterns, or None"):
        handle.metrics(layers=patterns)


def test_a_wrong_pattern_is_found_before_the_first_measured_step() -> None:
    handle = sd.watch(torch.optim.AdamW(nn.Linear(3, 3).named_parameters()), every=10)
    assert handle.metrics(layers="w*", measures="drift") == {}
    with pytest.raises(ValueError, match=r"nearest are \['weight'"):
        handle.metrics(layers="wight")


def test_every_measure_has_a_name_to_be_chosen_by_and_a_line_in_the_docs(handle: Any) -> None:
    found = {key.split("/")[2] for key in handle.metrics()}
    assert found == set(MEASURES)
    words = DOCS.read_text(encoding="utf-8")
    assert [measure for measure in MEASURES if f"`{measure}`" not in words] == []
