"""The processes of one run: a single one, or the ranks that torchrun started."""

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, final

import torch
import torch.distributed as dist
from torch import Tensor

Value = TypeVar("Value")


@final
@dataclass(frozen=True)
class Workers:
    """This process among the processes of a run.

    Attributes:
        rank: 0 writes logs and checkpoints.
        world_size: number of processes; 1 needs no process group.
        device: where this process computes.
    """

    rank: int
    world_size: int
    device: torch.device

    def mean(self, value: Tensor) -> Tensor:
        """The mean over ranks, on every rank."""
        return self.sum(value) / self.world_size

    def sum(self, value: Tensor) -> Tensor:
        """The sum over ranks, on every rank."""
        if self.world_size > 1:
            value = value.clone()
            dist.all_reduce(value)
        return value

    def all_of(self, value: Value) -> list[Value]:
        """The values of all ranks in order, on every rank; what pickle takes."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.world_size > 1:
            dist.barrier()

    def first(self, act: Callable[[], object]) -> None:
        """Rank 0 acts while the others wait; its error is raised on all ranks, so that none waits for one that left."""
        if self.world_size == 1:
            act()
            return
        error: list[Exception | None] = [None]
        if self.rank == 0:
            try:
                act()
            except Exception as raised:
                error = [raised]
        dist.broadcast_object_list(error)
        if error[0] is not None:
            raise error[0]


def is_first_process() -> bool:
    """Whether this process is rank 0 of torchrun, or the only one; known before the ranks are joined."""
    return not dist.is_torchelastic_launched() or os.environ["RANK"] == "0"


@contextmanager
def joined_workers() -> Iterator[Workers]:
    """Join the ranks of torchrun (its environment variables say so), or be the only one."""
    has_cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if has_cuda else torch.device("cpu")
    if not dist.is_torchelastic_launched():
        yield Workers(0, 1, device)
        return
    if has_cuda:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if has_cuda else "gloo")
    try:
        yield Workers(dist.get_rank(), dist.get_world_size(), device)
        # Rank 0 may still be saving, and torchrun ends all ranks when one leaves in disorder.
        dist.barrier()
    finally:
        # DDP refers to itself and to the group. If it is freed as the process exits, threads of gloo abort the process.
        gc.collect()
        dist.destroy_process_group()
