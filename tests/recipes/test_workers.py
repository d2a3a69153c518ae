"""Workers in real processes, joined as torchrun joins them."""

import gc
import os
import socket
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.queues import Queue
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from forked import FORKED
from steadydecay.recipes.workers import Workers, is_restarted, joined_workers


def test_a_process_of_its_own_is_the_only_worker() -> None:
    with joined_workers() as workers:
        assert (workers.rank, workers.world_size) == (0, 1)
        assert workers.device.type == ("cuda" if torch.cuda.is_available() else "cpu")
        value = torch.tensor([1.0, 2.0])
        assert workers.mean(value).tolist() == workers.sum(value).tolist() == [1.0, 2.0]
        workers.barrier()
        assert workers.all_of("own") == ["own"] and workers.told("own") == "own"
        assert list(workers.turns("ab")) == [("a", True), ("b", True)]
        workers.together(lambda: None)
        with pytest.raises(KeyError, match="alone"):
            workers.together(fail)
        assert not dist.is_initialized()


def fail() -> None:
    raise KeyError("alone")


def test_all_ranks_have_as_many_turns_and_each_item_counts_once() -> None:
    for count in range(7):
        turns = [list(Workers(rank, 3, torch.device("cpu")).turns(range(count))) for rank in range(3)]
        assert {len(of_rank) for of_rank in turns} == {-(-count // 3)}
        assert sorted(item for of_rank in turns for item, is_own in of_rank if is_own) == list(range(count))


class Squares:
    """Numbers that are made when they are asked for."""

    def __init__(self, count: int) -> None:
        self.count, self.made = count, []

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        return self.at(range(self.count))

    def at(self, places: Sequence[int]) -> Iterator[int]:
        for place in places:
            self.made.append(place)
            yield place**2


@pytest.mark.parametrize("count", range(7))
def test_of_items_that_are_made_each_rank_makes_its_own_and_at_most_one_more(count: int) -> None:
    made = []
    for rank in range(3):
        items = Squares(count)
        turns = list(Workers(rank, 3, torch.device("cpu")).turns(items))
        plain = list(Workers(rank, 3, torch.device("cpu")).turns([place**2 for place in range(count)]))
        assert turns == plain, "as of items that are there"
        assert len(items.made) == len(turns) == -(-count // 3)
        made += [place for place, (_, is_own) in zip(items.made, turns, strict=True) if is_own]
    assert sorted(made) == list(range(count))


def test_one_process_goes_through_all_items_that_are_made() -> None:
    assert list(Workers(0, 1, torch.device("cpu")).turns(Squares(3))) == [(0, True), (1, True), (4, True)]


def test_a_process_that_torchrun_starts_once_more_knows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RESTART_COUNT", raising=False)
    assert not is_restarted()
    for count, expected in {"0": False, "2": True}.items():
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", count)
        assert is_restarted() is expected


def rank_of(rank: int, port: int, answers: "Queue[Any]") -> None:
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test"}
    # Three ranks would need three GPUs.
    os.environ |= {"CUDA_VISIBLE_DEVICES": ""}
    os.environ |= address | {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "3"}
    torch.set_num_threads(1)
    gc.disable()
    with joined_workers() as workers:
        value = torch.tensor([float(rank), 1.0])
        answer = [workers.rank, workers.world_size, workers.sum(value).tolist(), workers.mean(value).tolist()]
        workers.barrier()
        answer += [value.tolist(), workers.all_of(rank), workers.told(f"of {rank}"), raised_together(workers)]
        parallel = DistributedDataParallel(nn.Linear(2, 1))
        parallel(value).backward()
        model = weakref.ref(parallel)
        del parallel
        # Rank 0 has more to do at the end: it saves.
        time.sleep(0.5 if rank == 0 else 0)
        done = time.monotonic()
    answers.put([*answer, dist.is_initialized(), model() is None, done, time.monotonic()])


def raised_together(workers: Workers) -> str:
    """What all raise where the second and the third do."""

    def act() -> None:
        if workers.rank > 0:
            raise ValueError(f"of rank {workers.rank}")

    try:
        workers.together(act)
    except ValueError as error:
        return str(error)
    return "nothing"


def in_processes(target: Callable[..., None], count: int) -> list[Any]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    answers = FORKED.Queue()
    processes = [FORKED.Process(target=target, args=(rank, port, answers)) for rank in range(count)]
    for process in processes:
        process.start()
    try:
        received = sorted(answers.get(timeout=60) for _ in processes)
    finally:
        for process in processes:
            process.join(10)
            process.kill()
    assert [process.exitcode for process in processes] == [0] * count
    return received


def test_ranks_share_sums_and_means_and_leave_the_group() -> None:
    answers = in_processes(rank_of, 3)
    for rank, (*answer, is_initialized, is_model_freed, _, left) in enumerate(answers):
        shared = [[0, 1, 2], "of 0", "of rank 1"]
        assert answer == [rank, 3, [3.0, 3.0], [1.0, 1.0], [float(rank), 1.0], *shared]
        assert not is_initialized
        assert is_model_freed, "a DDP model that outlives its group aborts some exits"
        assert left > answers[0][-2], "no rank leaves before rank 0 is done"
