"""docs/reproduction.md is what its command writes today, and every committed verdict follows from its numbers."""

import importlib
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from steadydecay.experiments.criterion import Criterion, judged, overall
from steadydecay.experiments.experiment import Experiment
from steadydecay.experiments.named_experiments import EXPERIMENTS
from steadydecay.experiments.scales import KINDS

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        yield importlib.import_module("reproduction_page")
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


def results() -> dict[str, dict[str, Any]]:
    return {name: json.loads((ROOT / f"results/{name}/embedded/verdict.json").read_text()) for name in EXPERIMENTS}


def criteria_of(experiment: Experiment) -> dict[str, Criterion]:
    """By the name that `reproduce` writes."""
    return {
        f"{KINDS.get(part.kind or '', 'Simulation')}: {criterion.quantity}": criterion
        for part in experiment.parts
        for criterion in part.criteria.values()
    }


def test_the_page_is_what_its_command_writes(script: ModuleType) -> None:
    assert (ROOT / "docs/reproduction.md").read_text(encoding="utf-8") == script.page()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_committed_verdict_follows_from_its_numbers_by_todays_criteria(name: str) -> None:
    content, criteria = results()[name], criteria_of(EXPERIMENTS[name])
    numbers = {quantity: one for quantity, one in content["numbers"].items() if isinstance(one, dict)}
    assert numbers.keys() == criteria.keys()
    verdicts = []
    for quantity, one in numbers.items():
        values = [math.nan if value is None else value for value in one["values"]]
        verdicts.append(judged(criteria[quantity], values).verdict)
        assert one["verdict"] == verdicts[-1]
    assert content["verdict"] == overall(verdicts)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_has_its_figure_and_its_tables(name: str) -> None:
    folder = ROOT / f"results/{name}/embedded"
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "figure.csv").read_text().count("\n") > 5
    assert (folder / "table.csv").read_text().count("\n") > 1
