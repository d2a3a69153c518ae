"""Several Python threads with one thread of torch's each: every one steps weights of its own.

Threads that share each product of matrices of a few hundred rows wait for one another as long as they multiply. Apart
they never do, and a thread alone multiplies nearly as fast as the processor can. Torch's number of threads is 1
meanwhile, everywhere in the process: a lane with a team of its own would outnumber the processors, and OpenMP would
then put all threads to sleep between any two operations, the model's too.
"""

import heapq
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from typing import Generic, TypeVar, final

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from steadydecay.optim.batches.parts import Stack

# More than two were not measured; what Python does for one lane, no other can do meanwhile.
MOST_LANES = 4
# Multiplications for one weight, below which Python is busy most of the time: about those of 256×256.
LEAST_OF_ONE = 2 * 10**8
# Of all such weights: below it, starting a thread takes longer than is saved.
LEAST_OF_ALL = 8 * 10**9
# Entries for which torch wakes one more thread.
GRAIN = 2**15
# How much longer than an equal share the last lane may take.
LARGEST_IMBALANCE = 1.1

Job = Callable[[], None]
Work = TypeVar("Work")


def lanes_for(stacks: Sequence[Stack], room: int) -> int:
    """As many lanes as torch has threads, or 1 where the threads had better share each product.

    Args:
        stacks: all that is stepped, the longest first.
        room: bytes for the temporaries of all lanes.
    """
    if _is_watched():
        return 1
    threads = torch.get_num_threads()
    if not 2 <= threads <= MOST_LANES:
        return 1
    heavy = [stack for stack in stacks if is_heavy(stack)]
    multiplied = [stack.cost.multiplications for stack in heavy for _ in stack.parts]
    if sum(multiplied) < LEAST_OF_ALL:
        return 1
    has_room = threads * max(stack.cost.workspace_bytes for stack in heavy) <= room
    is_balanced = _longest_lane(multiplied, threads) <= LARGEST_IMBALANCE * sum(multiplied) / threads
    is_plain = all(_is_plain(part.weight) for stack in stacks for part in stack.parts)
    return threads if has_room and is_balanced and is_plain else 1


def is_heavy(stack: Stack) -> bool:
    """Whether a lane gains from having one of its weights to itself."""
    return stack.cost.multiplications >= LEAST_OF_ONE


def run_in_lanes(heavy: Sequence[Job], light: Sequence[Job], lanes: int) -> None:
    """Each job once, in any order; the first error ends all lanes after their present job and is raised.

    Args:
        heavy: jobs, the longest first. No two of all write to the same.
        light: what remains for the lanes that have ended their heavy jobs.
        lanes: threads, this one included; 1 is a plain loop.
    """
    if lanes == 1:
        for job in chain(heavy, light):
            job()
        return
    waiting, errors, others = _Waiting(heavy, light, lanes), list[BaseException](), list[threading.Thread]()
    with one_thread():
        try:
            for lane in range(1, lanes):
                others.append(threading.Thread(target=_lane, args=(lane, waiting, errors), name="lane of an optimizer"))
                others[-1].start()
            _work(0, waiting, errors)
        finally:
            # After an interrupt too: whoever catches it may save the weights.
            waiting.clear()
            for other in others:
                other.join()
    if errors:
        raise errors[0]


@contextmanager
def one_thread() -> Iterator[None]:
    """For torch, while OpenMP's own threads sleep.

    After a region they spin for some milliseconds, on the processors that the lanes need, but not where they outnumber
    the processors. One thread more is there for one region; the next region with fewer ends it.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        torch.empty((threads + 1) * GRAIN).zero_()
        torch.set_num_threads(1)
        yield
    finally:
        torch.set_num_threads(threads)


@final
class _Waiting(Generic[Work]):
    """Work that no lane has begun.

    Every other lane does its share of the heavy work in reverse. Work of one kind calls Python equally often, and lanes
    that both do it wait for one another more than a lane of many short products does for one of few long ones.
    """

    def __init__(self, heavy: Sequence[Work], light: Sequence[Work], lanes: int) -> None:
        shares = [heavy[lane::lanes] for lane in range(lanes)]
        self._shares = [deque(reversed(share) if lane % 2 else share) for lane, share in enumerate(shares)]
        self._light = deque(light)

    def next_for(self, lane: int) -> Work | None:
        """Of its own share, else what another lane would do last, else light work."""
        for take in (self._shares[lane].popleft, *(share.pop for share in self._shares), self._light.popleft):
            # Not a look first: another lane may take the last one meanwhile.
            with suppress(IndexError):
                return take()
        return None

    def clear(self) -> None:
        for works in (*self._shares, self._light):
            works.clear()


def _lane(lane: int, waiting: _Waiting[Job], errors: list[BaseException]) -> None:
    # A new thread has OpenMP's default, whatever torch's is.
    torch.set_num_threads(1)
    with torch.no_grad():
        _work(lane, waiting, errors)


def _work(lane: int, waiting: _Waiting[Job], errors: list[BaseException]) -> None:
    while (job := waiting.next_for(lane)) is not None:
        try:
            job()
        # Whatever it is: the caller raises it, and an interrupt reaches the main thread only.
        except BaseException as error:
            errors.append(error)
            waiting.clear()


def _longest_lane(works: Sequence[int], lanes: int) -> int:
    waiting, ends = _Waiting(works, (), lanes), [(0, lane) for lane in range(lanes)]
    while (work := waiting.next_for(ends[0][1])) is not None:
        end, lane = ends[0]
        heapq.heapreplace(ends, (end + work, lane))
    return max(ends)[0]


def _is_plain(weight: Tensor) -> bool:
    """On this CPU whole; a sharded weight's ranks must talk in one order."""
    return type(weight) in (Tensor, nn.Parameter) and weight.device.type == "cpu"


def _is_watched() -> bool:
    """By a compiler or a mode that sees one thread only."""
    return torch.compiler.is_compiling() or is_in_torch_dispatch_mode() or torch.is_autocast_enabled("cpu")
