"""Steps in lanes: the weights are the same, the room is kept, and no trace of the lanes stays."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import steadydecay as sd
from steadydecay.bench.memory import allocations
from steadydecay.norms.protocol import LmoCost
from steadydecay.optim.batches import lanes, shape_batches
from steadydecay.optim.batches.alike_parts import AlikeParts
from steadydecay.optim.batches.lanes import lanes_for, run_in_lanes
from steadydecay.optim.batches.parts import Part
from steadydecay.polar import choice
from step_costs import Operations

THREADS = 2
HEAVY = lanes.LEAST_OF_ALL // 20
ROOM = 20
WORKSPACE = 5 * 10**6


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(threads)


def alike(count: int = 40, multiplications: int = HEAVY, bytes_of_one: int = 10, device: str = "cpu") -> AlikeParts:
    weight = nn.Parameter(torch.empty(2, 2, device=device))
    parts = [Part(weight, weight, weight, None)] * count
    return AlikeParts(parts, LmoCost(multiplications, bytes_of_one), 0, False)


def test_heavy_steps_have_a_lane_for_each_thread() -> None:
    assert lanes_for([alike(), alike(multiplications=0, bytes_of_one=99)], ROOM) == THREADS


OTHERS = {
    "nothing": [],
    "light in all": [alike(19)],
    "light each": [alike(10**4, multiplications=lanes.LEAST_OF_ONE - 1)],
    "no room for two": [alike(), alike(1, bytes_of_one=11)],
    "one that takes longer than the rest": [alike(1, 30 * HEAVY), alike(20)],
    "another device": [alike(), alike(1, 0, device="meta")],
}


@pytest.mark.parametrize("case", OTHERS)
def test_other_steps_have_one_lane(case: str) -> None:
    assert lanes_for(OTHERS[case], ROOM) == 1


@pytest.mark.parametrize("threads", [1, lanes.MOST_LANES + 1])
def test_so_have_other_numbers_of_threads(threads: int) -> None:
    torch.set_num_threads(threads)
    assert lanes_for([alike()], 10**9) == 1


def test_modes_that_see_one_thread_have_one_lane() -> None:
    with Operations():
        assert lanes_for([alike()], ROOM) == 1
    with torch.autocast("cpu"):
        assert lanes_for([alike()], ROOM) == 1


def test_other_kinds_of_tensors_have_one_lane() -> None:
    class Other(Tensor):
        pass

    other = torch.empty(2).as_subclass(Other)
    assert lanes_for([alike(), AlikeParts([Part(other, other, other, None)], LmoCost(0, 0), 0, False)], ROOM) == 1


@pytest.mark.parametrize("count", [2, 3, lanes.MOST_LANES])
def test_every_job_runs_once_with_one_thread_of_torchs(count: int) -> None:
    done: list[tuple[int, int, int, bool]] = []

    def job(index: int) -> Callable[[], None]:
        def work() -> None:
            time.sleep(0.005)
            done.append((index, threading.get_ident(), torch.get_num_threads(), torch.is_grad_enabled()))

        return work

    before = threading.active_count()
    torch.set_num_threads(count)
    with torch.no_grad():
        run_in_lanes([job(index) for index in range(40)], count)
    assert sorted(index for index, *_ in done) == list(range(40))
    assert len({thread for _, thread, *_ in done}) == count
    assert {(threads, is_enabled) for *_, threads, is_enabled in done} == {(1, False)}
    assert torch.get_num_threads() == count
    assert threading.active_count() == before


def lanes_of_jobs(count: int, meet: Callable[[int], None]) -> list[list[int]]:
    """What each of two lanes did, in order, this thread's first; `meet` is called in each job with its number."""
    done: dict[int, list[int]] = {}

    def job(index: int) -> None:
        done.setdefault(threading.get_ident(), []).append(index)
        meet(index)

    run_in_lanes([partial(job, index) for index in range(count)], 2)
    return [done.pop(threading.get_ident()), *done.values()]


def test_jobs_begin_in_their_order() -> None:
    barrier = threading.Barrier(2, timeout=60)
    lists = lanes_of_jobs(8, lambda _: (barrier.wait(), None)[1])
    # Each job waits for one of the other lane, so that the two take turns.
    assert sorted(sum(pair) for pair in zip(*lists, strict=True)) == [1, 5, 9, 13]


def test_a_lane_that_is_done_takes_the_next_job() -> None:
    has_first_begun, is_all_else_done = threading.Event(), threading.Event()

    def meet(index: int) -> None:
        if index == 0:
            has_first_begun.set()
            assert is_all_else_done.wait(timeout=60)
        assert has_first_begun.wait(timeout=60)
        if index == 8:
            is_all_else_done.set()

    assert sorted(lanes_of_jobs(9, meet)) == [[0], [1, 2, 3, 4, 5, 6, 7, 8]]


@pytest.mark.parametrize("failing", [0, 1, 4, 9])
def test_an_error_ends_all_lanes_and_is_raised(failing: int) -> None:
    done = []

    def job(index: int) -> Callable[[], None]:
        def work() -> None:
            if index == failing:
                raise OSError(f"job {index}")
            time.sleep(0.01)
            done.append(index)

        return work

    before = threading.active_count()
    with pytest.raises(OSError, match=f"job {failing}"):
        run_in_lanes([job(index) for index in range(51)], 2)
    assert len(done) <= failing + 2
    assert torch.get_num_threads() == THREADS
    assert threading.active_count() == before


def test_an_interrupt_leaves_no_lane_at_work() -> None:
    done = []

    def job() -> None:
        done.append(threading.current_thread())
        time.sleep(0.01)
        if len(done) == 6:
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_in_lanes([job] * 200, 2)
    finally:
        signal.signal(signal.SIGINT, before)
    count = len(done)
    time.sleep(0.05)
    assert len(done) == count < 200
    assert torch.get_num_threads() == THREADS


def threads_of_this_process() -> int:
    torch.ones(2**18).sum()
    # Threads that have nothing more to do are still there for a moment.
    time.sleep(0.1)
    return len(list(Path("/proc/self/task").iterdir()))


def test_no_thread_stays() -> None:
    """Of OpenMP's neither: where they outnumber the processors, they sleep between any two operations of the model."""
    before = threads_of_this_process()
    run_in_lanes([lambda: time.sleep(0.001)] * 8, 2)
    assert threads_of_this_process() == before


def model(dtype: torch.dtype = torch.float32) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(256, 256)] * 12 + [(768, 256), (256, 768)] * 6 + [(3, 256, 256), (300, 256), (256,)]
    return [nn.Parameter((torch.randn(shape, generator=generator) / 16).to(dtype)) for shape in shapes]


def give_gradients(weights: list[nn.Parameter], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for weight in weights:
        weight.grad = torch.randn(weight.shape, generator=generator).to(weight.dtype)


def optimizer_of(weights: list[nn.Parameter], **arguments: Any) -> sd.ScionC:
    groups = [{"params": weights[:-2], "norm": "spectral"}, {"params": weights[-2:], "norm": "sign"}]
    arguments = {"lr": 0.02, "weight_decay": 0.5, "workspace_bytes": WORKSPACE} | arguments
    return sd.ScionC(groups, **arguments)


def stepped(most: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch, **arguments: Any) -> list[Tensor]:
    """Weights after two steps in at most so many lanes."""
    used = []

    def counted(jobs: Any, found: int) -> None:
        used.append(found)
        run_in_lanes(jobs, found)

    monkeypatch.setattr(shape_batches, "run_in_lanes", counted)
    monkeypatch.setattr(lanes, "MOST_LANES", most)
    weights = model(dtype)
    optimizer = optimizer_of(weights, **arguments)
    for seed in range(2):
        give_gradients(weights, seed)
        optimizer.step()
    assert used == [most] * 2
    return [weight.detach().float() for weight in weights]


CASES: dict[str, tuple[torch.dtype, dict[str, Any]]] = {
    "momentum": (torch.float32, {}),
    "memory_light": (torch.float32, {"memory_light": True}),
    "nesterov, tensor lr": (torch.float32, {"nesterov": True, "lr": torch.tensor(0.02)}),
    "compensated": (torch.bfloat16, {}),
    "stochastic": (torch.bfloat16, {"low_precision": "stochastic"}),
}


@pytest.mark.parametrize("case", CASES)
def test_weights_are_those_of_shared_products(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_lanes_agree(case, monkeypatch)


def test_so_they_are_in_the_other_dtype_of_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "HAS_FAST_BFLOAT16", not choice.HAS_FAST_BFLOAT16)
    assert_lanes_agree("momentum", monkeypatch)


def assert_lanes_agree(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dtype, arguments = CASES[case]
    in_lanes, shared = (stepped(most, dtype, monkeypatch, **arguments) for most in (THREADS, 1))
    for one, other, before in zip(in_lanes, shared, model(dtype), strict=True):
        # A library of products may add up in another order on another number of threads.
        bound = 0.03 * (other - before.float()).norm() + (0.003 * other.norm() if dtype == torch.bfloat16 else 0)
        assert (one - other).norm() <= bound


def test_lanes_repeat_their_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (stepped(THREADS, torch.float32, monkeypatch) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("nesterov", [False, True])
def test_all_lanes_keep_to_the_workspace(nesterov: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    peaks: list[int] = []

    def measured(jobs: Any, found: int) -> None:
        assert found == THREADS
        torch.set_num_threads(1)
        each = allocations(list(jobs), torch.device("cpu"))
        kept_before = [0, *(one.kept for one in each)]
        peaks.extend(one.peak - before for one, before in zip(each, kept_before, strict=False))
        torch.set_num_threads(THREADS)

    weights = model()
    optimizer = optimizer_of(weights, nesterov=nesterov)
    give_gradients(weights, 0)
    monkeypatch.setattr(shape_batches, "run_in_lanes", measured)
    optimizer.step()
    assert len(peaks) > 20
    of_the_library_of_products = THREADS * 2 * 10**5
    assert sum(sorted(peaks)[-THREADS:]) <= WORKSPACE + of_the_library_of_products
