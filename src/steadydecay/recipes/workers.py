"""The processes of one run: a single one, or the ranks that torchrun started."""

import gc
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, islice
from typing import Any, Protocol, TypeVar, final, runtime_checkable

import torch
import torch.distributed as dist
from torch import Tensor

Value = TypeVar("Value")
MadeValue = TypeVar("MadeValue", covariant=True)
_times_joined = count()


@runtime_checkable
class MadeItems(Iterable[MadeValue], Protocol[MadeValue]):
    """Items that are made when they are asked for, so that each rank makes only its own."""

    def __len__(self) -> int:
        """Return the number of items."""
        ...

    def at(self, places: Sequence[int]) -> Iterator[MadeValue]:
        """Yield the items at these places, in this order."""
        ...


@final
@dataclass(frozen=True)
class Workers:
    """This process among the processes of a run.

    Attributes:
        rank: The rank. Rank 0 writes logs and checkpoints.
        world_size: The number of processes. A single one needs no process group.
        device: The device on which this process computes.
    """

    rank: int
    world_size: int
    device: torch.device

    @property
    def device_name(self) -> str:
        """The device in words, for the log."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        threads = torch.get_num_threads()
        return f"{self.device.type}, {threads} thread{'s' * (threads > 1)}"

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean over ranks, on every rank."""
        return self.sum(value) / self.world_size

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum over ranks, on every rank."""
        if self.world_size > 1:
            value = value.clone()
            dist.all_reduce(value)
        return value

    def all_of(self, value: Value) -> list[Value]:
        """Return the values of all ranks in order, on every rank. Values must be picklable."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def told(self, value: Any) -> Any:
        """Return the value of rank 0 on every rank. It must be picklable."""
        if self.world_size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values)
        return values[0]

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.world_size > 1:
            dist.barrier()

    def first(self, act: Callable[[], object]) -> None:
        """Let rank 0 act while the others wait. Its error is raised on all ranks, so that none waits for one that
        left."""
        if self.world_size == 1:
            act()
            return
        error = self.told(_error_of(act) if self.rank == 0 else None)
        if error is not None:
            raise error

    def together(self, act: Callable[[], object]) -> None:
        """Let each rank act. If some raise errors, the first one is raised on all ranks, so that they stay together."""
        errors = [error for error in self.all_of(_error_of(act)) if error is not None]
        if errors:
            raise errors[0]

    def turns(self, items: Iterable[Value]) -> Iterator[tuple[Value, bool]]:
        """Yield this rank's item in each round over the items, and whether the item is its own.

        All ranks take the same number of turns, so that each can take part in collective operations. In the last round,
        ranks for which no item is left get the round's first item again.
        """
        if self.world_size > 1 and isinstance(items, MadeItems):
            yield from self._turns_of(items)
            return
        items = iter(items)
        while turn := list(islice(items, self.world_size)):
            yield (turn[self.rank], True) if self.rank < len(turn) else (turn[0], False)

    def _turns_of(self, items: MadeItems[Value]) -> Iterator[tuple[Value, bool]]:
        rounds = range(0, len(items), self.world_size)
        are_own = [first + self.rank < len(items) for first in rounds]
        places = [first + self.rank if own else first for first, own in zip(rounds, are_own, strict=True)]
        return zip(items.at(places), are_own, strict=True)


def _error_of(act: Callable[[], object]) -> Exception | None:
    try:
        act()
    except Exception as error:
        return error
    return None


def is_restarted() -> bool:
    """Return whether torchrun has restarted this process because a process of the run had ended (`--max-restarts`)."""
    return _restarts() > 0


def _restarts() -> int:
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))


def is_first_process() -> bool:
    """Return whether this process is torchrun's rank 0 or the only one. It is known before the ranks are joined."""
    return not dist.is_torchelastic_launched() or os.environ["RANK"] == "0"


@contextmanager
def joined_workers() -> Iterator[Workers]:
    """Join torchrun's ranks if its environment variables are set; otherwise be the only process."""
    has_cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if has_cuda else torch.device("cpu")
    if not dist.is_torchelastic_launched():
        yield Workers(0, 1, device)
        return
    if has_cuda:
        torch.cuda.set_device(device)
    _join("nccl" if has_cuda else "gloo")
    try:
        yield Workers(dist.get_rank(), dist.get_world_size(), device)
        # Rank 0 may still be saving, and torchrun ends all ranks when one exits with an error.
        dist.barrier()
    except BaseException:
        # NCCL would first wait for the others, who wait for this rank. torchrun ends them once this process has ended.
        if not has_cuda:
            _leave_group()
        raise
    _leave_group()


def _join(backend: str) -> None:
    store, rank, world_size = next(dist.rendezvous("env://"))  # pyright: ignore[reportPrivateImportUsage]
    # torchrun keeps one store for all process groups. Ranks that join again, for the next run of a comparison or after
    # a
    # restart, would find the addresses of ranks that have left.
    prefix = f"steadydecay {_restarts()}.{next(_times_joined)}"
    store = dist.PrefixStore(prefix, store)  # pyright: ignore[reportPrivateImportUsage]
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size)


def _leave_group() -> None:
    # DDP refers to itself and to the group. If it were freed at exit, gloo's threads would abort the process.
    gc.collect()
    dist.destroy_process_group()
