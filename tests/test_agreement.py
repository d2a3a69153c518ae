"""The committed tables of docs/agreement.md and docs/polar_correlation.md are what their commands print today."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


def benchmark(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


agreement, polar_correlation = benchmark("agreement"), benchmark("polar_correlation")
CELLS = json.loads(agreement.RESULTS.read_text())


def test_every_cell_is_within_2_percent_where_eq_3_is_not() -> None:
    every = [cell for of_schedules in CELLS.values() for cell in of_schedules.values()]
    assert len(every) == 8 * 6 * 4
    assert max(abs(agreement.farthest(cell, "predicted") - 1) for cell in every) < 0.02
    assert max(abs(agreement.farthest(cell, "linear") - 1) for cell in every) > 0.3


@pytest.mark.parametrize("row", CELLS)
def test_predictions_are_those_of_today(row: str) -> None:
    lmo_name, filter_name = row.split(" | ")
    for schedule, cell in CELLS[row].items():
        predicted = agreement.predict(agreement.LMOS[lmo_name], filter_name, schedule)
        assert predicted == pytest.approx(cell["predicted"], rel=1e-9)


@pytest.mark.parametrize(
    ("row", "schedule"),
    [("Sign | EMA 0.9", "cosine, corrected"), ("Spectral 8×128 | Nesterov 0.95", "momentum schedule")],
)
def test_a_smaller_simulation_agrees_with_the_committed_one(row: str, schedule: str) -> None:
    lmo_name, filter_name = row.split(" | ")
    cell = agreement.compare(agreement.LMOS[lmo_name], filter_name, schedule, entries=10_000, seed=1)
    assert cell["simulated"] == pytest.approx(CELLS[row][schedule]["simulated"], rel=0.06)


def test_pages_are_made_from_the_committed_results() -> None:
    assert agreement.page_of(CELLS) == agreement.PAGE.read_text(encoding="utf-8")
    shapes = json.loads(polar_correlation.RESULTS.read_text())["shapes"]
    assert polar_correlation.page_of(shapes) == polar_correlation.PAGE.read_text(encoding="utf-8")
