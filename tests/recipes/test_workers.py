"""Workers in real processes, joined as torchrun joins them."""

import gc
import multiprocessing
import os
import socket
import time
import weakref
from collections.abc import Callable
from multiprocessing.queues import Queue
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from steadydecay.recipes.workers import joined_workers


def test_a_process_of_its_own_is_the_only_worker() -> None:
    with joined_workers() as workers:
        assert (workers.rank, workers.world_size) == (0, 1)
        assert workers.device.type == ("cuda" if torch.cuda.is_available() else "cpu")
        value = torch.tensor([1.0, 2.0])
        assert workers.mean(value).tolist() == workers.sum(value).tolist() == [1.0, 2.0]
        workers.barrier()
        assert not dist.is_initialized()


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
        answer.append(value.tolist())
        parallel = DistributedDataParallel(nn.Linear(2, 1))
        parallel(value).backward()
        model = weakref.ref(parallel)
        del parallel
        # Rank 0 has more to do at the end: it saves.
        time.sleep(0.5 if rank == 0 else 0)
        done = time.monotonic()
    answers.put([*answer, dist.is_initialized(), model() is None, done, time.monotonic()])


def in_processes(target: Callable[..., None], count: int) -> list[Any]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["steadydecay.recipes.workers"])
    answers = context.Queue()
    processes = [context.Process(target=target, args=(rank, port, answers)) for rank in range(count)]
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
        assert answer == [rank, 3, [3.0, 3.0], [1.0, 1.0], [float(rank), 1.0]]
        assert not is_initialized
        assert is_model_freed, "a DDP model that outlives its group aborts some exits"
        assert left > answers[0][-2], "no rank leaves before rank 0 is done"
