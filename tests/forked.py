"""Processes forked from one that has imported torch once for all tests, alone or as ranks of a group."""

import gc
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

# The first optimizer imports torch._dynamo, which takes longer than all steps of a small run.
PRELOADED = ["pytest", "steadydecay.commands.train", "torch._dynamo", "torch.distributed.fsdp"]
PRELOADED += ["torch.distributed.tensor.parallel", "torch.distributed.launcher.api"]

FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(PRELOADED)


def on_ranks(ranks: int, work: Callable[..., object], *arguments: Any, code: int = 0, timeout: float = 120) -> str:
    """What processes show that do the work as ranks, with the variables that torchrun gives its own."""
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # pyright: ignore[reportPrivateImportUsage]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
    shared |= {"TORCHELASTIC_RUN_ID": "test", "TORCHELASTIC_RESTART_COUNT": "0"}
    shared |= {"WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks)}
    own = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(ranks)]
    return _shown([shared | of_rank for of_rank in own], work, arguments, code, timeout)


def alone(work: Callable[..., object], *arguments: Any, code: int = 0, timeout: float = 120) -> str:
    """What one process shows that does the work."""
    return _shown([{}], work, arguments, code, timeout)


def _shown(
    environments: list[dict[str, str]],
    work: Callable[..., object],
    arguments: tuple[Any, ...],
    code: int,
    timeout: float,
) -> str:
    """By processes on this machine's CPU, with one thread each, that all end with the exit status `code`."""
    with tempfile.TemporaryDirectory() as folder:
        shown = [Path(folder, str(rank)) for rank in range(len(environments))]
        processes = [
            FORKED.Process(target=_work, args=(environment, path, work, arguments))
            for environment, path in zip(environments, shown, strict=True)
        ]
        for process in processes:
            process.start()
        _end(processes, code, time.monotonic() + timeout)
        everything = "".join(path.read_text() for path in shown if path.exists())
    assert [process.exitcode for process in processes] == [code] * len(processes), everything
    return everything


def _work(environment: dict[str, str], shown: Path, work: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    os.environ |= environment | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    torch.set_num_threads(1)
    # An optimizer that looks for its DDP wrapper passes all objects, those of imported packages among them.
    gc.freeze()
    with shown.open("w") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    work(*arguments)


def _end(processes: list[Any], code: int, deadline: float) -> None:
    """Wait until all end, or one ends otherwise, for which the rest might wait for ever."""
    running = {process.sentinel: process for process in processes}
    while running and all(process.exitcode in (None, code) for process in processes):
        ended = wait(list(running), max(deadline - time.monotonic(), 0))
        if not ended:
            break
        for sentinel in ended:
            running.pop(sentinel).join()
    for process in processes:
        process.kill()
        process.join()
