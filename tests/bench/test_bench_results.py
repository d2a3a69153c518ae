"""Numbers that follow from a result, and its file."""

from pathlib import Path

import pytest
from bench_results import OURS, SLOW, result

from steadydecay.bench.results import (
    least_floor,
    plain_floor,
    ratio_to_reference,
    read_result,
    spread,
    write_result,
)


def test_a_result_comes_back_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "step.json"
    write_result(result(), path)
    assert read_result(path) == result()


def test_the_spread_is_the_median_and_the_quartiles() -> None:
    assert spread([5, 1, 4, 2, 3]) == (2, 3, 4)
    assert spread([7.0]) == (7, 7, 7)


def test_the_ratio_is_the_median_of_ratios_within_a_repetition() -> None:
    assert ratio_to_reference(OURS) == 1
    assert ratio_to_reference(SLOW) == pytest.approx(2.0)


def test_floors_take_the_dtype_in_which_they_are_lowest() -> None:
    """In bfloat16 8 and 7 GFLOP at 2000 per second; in float32 8 and 5 at 1000."""
    assert plain_floor(result()) == pytest.approx(0.004)
    assert least_floor(result()) == pytest.approx(0.0035)
    assert least_floor(result(rates={"float32": [1e12]})) == pytest.approx(0.005)
