"""Real processes with weights that are cut over them take the steps of one process with whole weights."""

import json
from typing import Any

import pytest
from cut_steps import SECTIONS, main

from forked import on_ranks

# The fewest with replicas of shards, and with two ways to cut one weight.
RANKS = 4


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """By section and case: how far the weights are from those of one process, relative to them."""
    out = tmp_path_factory.mktemp("cut") / "out.json"
    on_ranks(RANKS, main, out, *SECTIONS, timeout=240)
    return json.loads(out.read_text())


def above(limit: float, differences: dict[str, float]) -> dict[str, float]:
    return {name: difference for name, difference in differences.items() if not difference <= limit}


def test_every_norm_mode_and_optimizer_in_every_layout(found: dict[str, dict[str, Any]]) -> None:
    assert len(found["layouts"]) == 45
    assert above(1e-6, found["layouts"]) == {}
    # Rounding depends on the place of an entry in the whole weight, so that no bit differs.
    in_bfloat16 = {name: value for name, value in found["layouts"].items() if "bfloat16" in name}
    assert above(0, in_bfloat16) == {}


def test_gradients_of_another_dtype_and_missing_ones(found: dict[str, dict[str, Any]]) -> None:
    assert above(1e-6, found["gradients"]) == {}


def test_a_model_under_every_strategy(found: dict[str, dict[str, Any]]) -> None:
    assert above(1e-11, found["strategies"]) == {}


def test_experts(found: dict[str, dict[str, Any]]) -> None:
    assert above(1e-6, found["experts"]) == {}


def test_replicas_share_state_and_are_saved_whole_or_not_at_all(found: dict[str, dict[str, Any]]) -> None:
    replicas = found["replicas"]
    assert replicas["difference"] <= 1e-6
    assert replicas["by hand"] <= 1e-6
    assert replicas["kept whole"]
    assert replicas["alike on all ranks"]
    assert replicas["share of the momentum"] < 0.28
    assert "consolidate_state_dict()" in replicas["refusal"]


def test_a_nan_in_the_part_of_one_rank_is_skipped_by_all(found: dict[str, dict[str, Any]]) -> None:
    for name, skipped in found["nonfinite"].items():
        assert (name, skipped) == (name, {"counts": [{"group_0.0": 1}] * RANKS, "is_finite": True})


def test_a_rank_that_compiles_its_step_exchanges_as_the_others_do(found: dict[str, dict[str, Any]]) -> None:
    assert found["compiled"] == {"scion": 0, "lion": 0, "adamc": 0}
