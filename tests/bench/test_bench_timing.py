"""The order of works, and what is timed."""

import time

import pytest
import torch

from steadydecay.bench.product_times import SIDES, dtypes_of, products_rate
from steadydecay.bench.timing import in_turn, seconds

CPU = torch.device("cpu")


def test_each_repetition_begins_with_another_work() -> None:
    order: list[str] = []
    works = {name: lambda name=name: order.append(name) or float(len(order)) for name in "abc"}
    taken = list(in_turn(works, 4))
    assert "".join(order) == "abc" + "bca" + "cab" + "abc"
    assert taken[0] == {"a": 1, "b": 2, "c": 3}
    assert taken[1] == {"a": 6, "b": 4, "c": 5}
    assert list(taken[2]) == ["a", "b", "c"]


def test_seconds_are_those_of_the_work() -> None:
    assert 0.02 <= seconds(lambda: time.sleep(0.02), CPU) < 1
    assert seconds(lambda: None, CPU) < 0.02


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_rate_is_that_of_the_fastest_product(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 2.0, 0.0, 1.0, 0.0, 4.0, 0.0, 9.0, 0.0, 9.0, 0.0, 9.0])
    monkeypatch.setattr("steadydecay.bench.product_times.time.perf_counter", lambda: next(clock))
    assert products_rate(dtype, CPU, sides=(16, 8)) == 2 * 16**3


def test_a_real_rate_is_plausible() -> None:
    assert 1e7 < products_rate(torch.float32, CPU, sides=(64,)) < 1e14


def test_on_cuda_time_runs_until_the_device_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: asked.append(str(device)))
    seconds(lambda: asked.append("work"), torch.device("cuda"))
    assert asked == ["cuda", "work", "cuda"]


@pytest.mark.parametrize("has_fast_bfloat16", [False, True])
def test_the_rate_of_bfloat16_is_measured_where_it_is_fast(
    has_fast_bfloat16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steadydecay.bench.product_times.HAS_FAST_BFLOAT16", has_fast_bfloat16)
    assert (torch.bfloat16 in dtypes_of(CPU)) is has_fast_bfloat16
    assert dtypes_of(torch.device("cuda")) == [torch.float32, torch.float16]


def test_products_of_gpus_are_larger() -> None:
    assert min(SIDES["cuda"]) > max(SIDES["cpu"])
