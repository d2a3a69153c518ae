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
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from steadydecay.optim.parts import Stack

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


def lanes_for(stacks: Sequence[Stack], room: int) -> int:
    """As many lanes as torch has threads, or 1 where the threads had better share each product.

    Args:
        stacks: all that is stepped.
        room: bytes for the temporaries of all lanes.
    """
    if _is_watched():
        return 1
    threads = torch.get_num_threads()
    if not 2 <= threads <= MOST_LANES:
        return 1
    heavy = [stack for stack in stacks if stack.cost.multiplications >= LEAST_OF_ONE]
    multiplied = [stack.cost.multiplications for stack in heavy for _ in stack.parts]
    if sum(multiplied) < LEAST_OF_ALL:
        return 1
    has_room = threads * max(stack.cost.workspace_bytes for stack in heavy) <= room
    is_balanced = _longest_lane(multiplied, threads) <= LARGEST_IMBALANCE * sum(multiplied) / threads
    is_plain = all(_is_plain(part.weight) for stack in stacks for part in stack.parts)
    return threads if has_room and is_balanced and is_plain else 1


def run_in_lanes(jobs: Sequence[Job], lanes: int) -> None:
    """Each job once, in any order; the first error ends all lanes after their present job and is raised.

    Args:
        jobs: that share nothing they write to; the longest first.
        lanes: threads, this one included; 1 is a plain loop.
    """
    if lanes == 1:
        for job in jobs:
            job()
        return
    waiting, errors, others = deque(jobs), list[BaseException](), list[threading.Thread]()
    with one_thread():
        try:
            for _ in range(lanes - 1):
                others.append(threading.Thread(target=_lane, args=(waiting, errors), name="lane of an optimizer"))
                others[-1].start()
            _work(waiting, errors)
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


def _lane(waiting: deque[Job], errors: list[BaseException]) -> None:
    # A new thread has OpenMP's default, whatever torch's is.
    torch.set_num_threads(1)
    with torch.no_grad():
        _work(waiting, errors)


def _work(waiting: deque[Job], errors: list[BaseException]) -> None:
    while True:
        try:
            job = waiting.popleft()
        except IndexError:
            return
        try:
            job()
        # Whatever it is: the caller raises it, and an interrupt reaches the main thread only.
        except BaseException as error:
            errors.append(error)
            waiting.clear()


def _longest_lane(works: Sequence[int], lanes: int) -> int:
    """Of the works given, the longest first, to the lane that is free first."""
    ends = [0] * lanes
    for work in sorted(works, reverse=True):
        heapq.heapreplace(ends, ends[0] + work)
    return max(ends)


def _is_plain(weight: Tensor) -> bool:
    """On this CPU whole; a sharded weight's ranks must talk in one order."""
    return type(weight) in (Tensor, nn.Parameter) and weight.device.type == "cpu"


def _is_watched() -> bool:
    """By a compiler or a mode that sees one thread only."""
    return torch.compiler.is_compiling() or is_in_torch_dispatch_mode() or torch.is_autocast_enabled("cpu")
