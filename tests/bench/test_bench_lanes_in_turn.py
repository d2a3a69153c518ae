"""Memory of lanes: the sum of what the largest jobs take, as if they met."""

import threading
from collections.abc import Callable, Iterator

import pytest
import torch

from steadydecay.bench.lanes_in_turn import lanes_in_turn
from steadydecay.bench.memory import allocations
from steadydecay.optim.batches import shape_batches

CPU = torch.device("cpu")
MIB = 2**20
KEPT = 5


def raising() -> None:
    raise OSError


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


def job(count: int) -> Callable[[], None]:
    def work() -> None:
        assert threading.current_thread() is threading.main_thread()
        torch.empty(count * MIB, dtype=torch.uint8)
        torch.empty(MIB, dtype=torch.uint8)

    return work


@pytest.mark.parametrize(("lanes", "peak"), [(1, 4), (2, 7), (3, 9)])
def test_the_largest_jobs_count_together(lanes: int, peak: int) -> None:
    kept = []

    def step() -> None:
        kept.append(torch.empty(KEPT * MIB, dtype=torch.uint8))
        shape_batches.run_in_lanes([job(count) for count in (2, 4, 3, 1)], lanes)

    with lanes_in_turn():
        (found,) = allocations([step], CPU)
    assert (found.peak, found.kept) == ((KEPT + peak) * MIB, KEPT * MIB)
    assert found.calls == 9


def test_what_is_taken_outside_the_jobs_counts() -> None:
    def step() -> None:
        shape_batches.run_in_lanes([job(2)] * 2, 2)
        torch.empty(9 * MIB, dtype=torch.uint8)

    with lanes_in_turn():
        assert allocations([step], CPU)[0].peak == 9 * MIB


def test_jobs_have_the_threads_of_their_lane_and_errors_undo_it() -> None:
    seen = []
    before = shape_batches.run_in_lanes
    with pytest.raises(OSError), lanes_in_turn():
        shape_batches.run_in_lanes([lambda: seen.append(torch.get_num_threads())], 1)
        shape_batches.run_in_lanes([lambda: seen.append(torch.get_num_threads())], 2)
        shape_batches.run_in_lanes([raising], 2)
    assert seen == [2, 1]
    assert torch.get_num_threads() == 2
    assert shape_batches.run_in_lanes is before
