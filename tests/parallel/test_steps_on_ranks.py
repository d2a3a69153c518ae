"""Twenty steps on 8 real ranks end with the weights of one process, and so does the committed run on 1, 2, 4 and 8."""

import importlib
import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import torch

from forked import on_ranks

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield importlib.import_module("steps_on_ranks")
    finally:
        sys.path.remove(str(BENCHMARKS))


def test_eight_ranks_take_twenty_steps_as_one_process_does(script: ModuleType, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    on_ranks(8, partial(script.work, is_short=True), out, timeout=300)
    found = [script.Difference(**one) for one in json.loads(out.read_text())]
    assert len(found) == 2 * 3 + 1 + 1
    assert [one for one in found if not one.is_within] == []


def test_the_committed_run_is_of_all_cases_and_within_its_limits(script: ModuleType) -> None:
    found = script.read_result().differences
    assert {one.ranks for one in found} == set(script.RANKS)
    assert {one.case for one in found} == {*script.CASES, "experts", "GPT"}
    assert [one for one in found if not one.is_within] == []


@pytest.mark.parametrize(
    ("case", "ulps", "relative"),
    [("corrected", 2, 0.0), ("corrected", 0, 2e-6), ("stochastic", 0, 1e-9), ("GPT", None, 1e-8)],
)
def test_what_is_farther_is_not_within(script: ModuleType, case: str, ulps: int | None, relative: float) -> None:
    assert not script.Difference(8, case, "rows", ulps, relative).is_within


def test_floats_are_counted_between_two_numbers_also_across_zero(script: ModuleType) -> None:
    tiny = torch.tensor([torch.finfo(torch.float32).smallest_normal])
    one = torch.ones(1)
    assert script._ulps(one, torch.nextafter(one, 2 * one)) == 1
    assert script._ulps(torch.zeros(1), -torch.zeros(1)) == 0
    assert script._ulps(tiny, -tiny) == 2**24
