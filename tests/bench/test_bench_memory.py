"""Bytes and calls of known pieces of work."""

import pytest
import torch

from steadydecay.bench.memory import allocations, state_bytes

CPU = torch.device("cpu")
MIB = 2**20


def mebibytes(count: int) -> torch.Tensor:
    return torch.empty(count * MIB, dtype=torch.uint8)


def test_the_peak_is_what_is_held_at_one_time() -> None:
    def work() -> None:
        first = mebibytes(3)
        second = mebibytes(4)
        del first
        third = mebibytes(2)
        del second, third

    (found,) = allocations([work], CPU)
    assert (found.peak, found.kept) == (7 * MIB, 0)
    assert found.calls == 3


def test_what_stays_is_kept() -> None:
    kept = []

    def work() -> None:
        kept.append(mebibytes(1))
        mebibytes(5)

    (found,) = allocations([work], CPU)
    assert (found.peak, found.kept) == (6 * MIB, MIB)


def test_a_cycle_of_references_is_not_kept() -> None:
    def work() -> None:
        cycle = [mebibytes(1)]
        cycle.append(cycle)  # pyright: ignore[reportArgumentType]

    assert allocations([work], CPU)[0].kept == 0


def test_pieces_of_work_follow_on_each_other() -> None:
    held = []
    first, second, third = allocations([lambda: held.append(mebibytes(2)), lambda: mebibytes(3), held.clear], CPU)
    assert (first.peak, first.kept, first.calls) == (2 * MIB, 2 * MIB, 1)
    assert (second.peak, second.kept, second.calls) == (5 * MIB, 2 * MIB, 1)
    assert (third.peak, third.kept, third.calls) == (2 * MIB, 0, 0)


def test_temporaries_inside_an_operator_are_seen() -> None:
    matrices = torch.rand(64, 2, 64)
    (found,) = allocations([lambda: matrices.permute(1, 0, 2).reshape(128, 64)], CPU)
    assert found.peak >= 64 * 2 * 64 * 4
    # permute and reshape; the clone that reshape calls is its own.
    assert found.calls == 2


def test_nothing_takes_nothing() -> None:
    assert allocations([lambda: None], CPU) == [(0, 0, 0)]
    assert allocations([], CPU) == []


def test_work_that_fails_ends_the_profiler() -> None:
    def work() -> None:
        raise RuntimeError("no")

    for _ in range(2):
        try:
            allocations([work], CPU)
        except RuntimeError as error:
            assert str(error) == "no"
    assert allocations([lambda: mebibytes(1)], CPU)[0].peak == MIB


def test_state_counts_each_storage_once() -> None:
    weights = [torch.nn.Parameter(torch.zeros(10, 3)) for _ in range(2)]
    optimizer = torch.optim.SGD(weights, lr=0.1)
    stack = torch.zeros(2, 10, 3)
    for weight, view in zip(weights, stack, strict=True):
        optimizer.state[weight] = {"momentum": view, "nested": [{"more": torch.zeros(5, dtype=torch.float64)}], "n": 3}
    assert state_bytes([optimizer]) == 2 * 10 * 3 * 4 + 2 * 5 * 8
    assert state_bytes([]) == 0


def test_on_cuda_the_allocator_is_asked_before_and_after_each_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    held, peaks = iter([100, 130, 120]), iter([170, 150])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: asked.append("reset"))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: next(held))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: next(peaks))
    works = [lambda: asked.append("first"), lambda: mebibytes(1)]
    assert allocations(works, torch.device("cuda")) == [(70, 30, 0), (50, 20, 1)]
    assert asked == ["reset", "first", "reset"]
