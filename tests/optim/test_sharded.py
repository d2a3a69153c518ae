"""Two real processes with weights cut by FSDP2 take the steps of one with whole weights."""

from pathlib import Path
from typing import Any

import pytest
from sharded_steps import OPTIMIZERS

from torchrun import on_ranks

PROGRAM = Path(__file__).with_name("sharded_steps.py")
WEIGHTS = 8


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """By optimizer: largest difference of a weight, collectives in a step, and what each rank has skipped."""
    out = tmp_path_factory.mktemp("sharded") / "out.json"
    return on_ranks(PROGRAM, out)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_sharded_weights_step_as_whole_ones(name: str, found: dict[str, dict[str, Any]]) -> None:
    assert found["differences"][name] < 1e-5


@pytest.mark.parametrize("name", ["spectral", "split", "one at a time"])
def test_each_weight_is_gathered_once(name: str, found: dict[str, dict[str, Any]]) -> None:
    assert found["collectives"][name] == WEIGHTS


@pytest.mark.parametrize("name", ["spectral", "lion", "adamc"])
def test_a_nan_in_the_part_of_one_rank_is_skipped_by_all(name: str, found: dict[str, dict[str, Any]]) -> None:
    assert found["skipped"][name] == {"counts": [{"group_0.0": 1}] * 2, "is_finite": True}
