"""The table on terminals of several widths."""

import io
import math
from dataclasses import replace

import pytest
from rich.console import Console

from steadydecay.inspection.inspected_layers import Layer
from steadydecay.inspection.layer_settings import LayerSettings
from steadydecay.inspection.layer_table import folded, layer_table, number, printable
from steadydecay.inspection.stored_weight import StoredWeight
from steadydecay.inspection.weight_measures import Measures
from steadydecay.known_optimizers.table import ADAMW

LONG = "model.layers.10.self_attn.q_proj.weight"


def layer(name: str, decay: float = 0.5, norm: float = 2.5, spectral: tuple[float, ...] = (1.25,)) -> Layer:
    weight = StoredWeight(name, (50257, 4096), "float32")
    settings = LayerSettings(ADAMW, {"lr": 1e-3, "weight_decay": 1e3 * decay}) if decay else None
    return Layer(weight, name, "embedding", Measures(norm / 1e4, norm, spectral, int(math.isnan(norm))), settings)


def shown(layers: list[Layer], width: int) -> str:
    text = io.StringIO()
    Console(file=text, width=width).print(layer_table(layers, 0.2, width), soft_wrap=True)
    return text.getvalue()


@pytest.mark.parametrize("width", [80, 90, 100, 140])
def test_numbers_are_whole_and_no_line_is_too_long(width: int) -> None:
    text = shown([layer(LONG), layer("a.weight", norm=16.6)], width)
    cells = ["50257×4096", "embedding", "0.000250", "0.00115", "2.50", "16.6", "1.25", "0.151", "!", "1.00"]
    assert all(cell in text for cell in cells)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text


def test_a_long_name_is_folded_at_its_dots() -> None:
    lines = [line.split()[0] for line in shown([layer(LONG)], 80).splitlines()[2:]]
    assert lines == ["model.layers.10.", "self_attn.q_proj"]
    assert "model.layers.10.self_attn.q_proj " in shown([layer(LONG)], 140)


def test_without_predictions_their_columns_are_left_out() -> None:
    text = shown([layer("a.weight", decay=0)], 100)
    assert "steady" not in text and "ratio" not in text and "!" not in text
    assert "RMS" in text and "σ max" in text
    assert "σ max" not in shown([layer("a.weight", spectral=())], 100)


def test_only_what_is_far_is_marked() -> None:
    lines = shown([layer("far.weight"), layer("near.weight", norm=16.6)], 100).splitlines()[2:]
    assert lines[0].rstrip().endswith("!") and not lines[1].rstrip().endswith("!")


def test_a_weight_that_is_not_finite_has_no_numbers_and_a_mark() -> None:
    line = shown([layer("a.weight", norm=math.nan, spectral=(math.nan,)), layer("b.weight")], 100).splitlines()[2]
    assert line.rstrip().endswith("!") and line.count("–") == 4


def test_the_largest_of_several_matrices_is_shown() -> None:
    assert "7.00" in shown([layer("a.weight", spectral=(1.0, 7.0, 3.0))], 100)


def test_brackets_in_a_name_are_no_markup_and_escapes_do_not_reach_the_terminal() -> None:
    text = shown([layer("a[red].\x1b[2J\nb")], 140)
    assert "a[red].\\x1b[2J\\nb" in text and "\x1b" not in text


@pytest.mark.parametrize("value", [1e-300, 0.00001234, 0.9999, 1.0, 99.99, 999.9, 12345.6, 99999.0, 1.23456e12, 1e300])
def test_numbers_are_right_to_three_digits_in_eight_characters(value: float) -> None:
    assert float(number(value)) == pytest.approx(value, rel=5.1e-3)
    assert len(number(value)) <= 9


def test_parts_wider_than_a_line_stay_whole() -> None:
    assert folded("averylongname.b", 4) == "averylongname.\nb"
    assert folded("", 10) == "" and folded("a..b", 1) == "a.\n.\nb"


def test_letters_of_any_language_are_printable() -> None:
    assert printable("größe 层") == "größe 层" and printable("\u202e") == "\\u202e"


def test_a_role_of_wide_letters_stays_whole() -> None:
    text = shown([replace(layer("a.weight"), role="隠れ層の行列です"), layer("b.weight")], 140)
    assert "隠れ層の行列です" in text and "…" not in text
