"""Several Python threads with one thread of torch's each: every one steps weights of its own.

Threads that share each product of matrices of a few hundred rows wait for one another as long as they multiply. Apart
they never do, and a thread alone multiplies nearly as fast as the processor can. Torch's number of threads is 1
meanwhile, everywhere in the process: a lane with a team of its own would outnumber the processors, and OpenMP would
then put all threads to sleep between any two operations, the model's too.
"""

import heapq
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from steadydecay.optim.batches.alike_parts import AlikeParts

# More than two were not measured; what Python does for one lane, no other can do meanwhile.
MOST_LANES = 4
# Multiplications for one weight, below which Python is busy most of the time: about those of 256×256.
LEAST_OF_ONE = 2 * 10**8
# Of all such weights: below it, starting a thread takes longer than is saved.
LEAST_OF_ALL = 8 * 10**9
# How much longer than an equal share the last lane may take.
LARGEST_IMBALANCE = 1.1

NAME = "lane of an optimizer"

Job = Callable[[], None]


def lanes_for(work: Sequence[AlikeParts], room: int) -> int:
    """As many lanes as torch has threads, or 1 where the threads had better share each product.

    Args:
        work: all that is stepped, the longest first.
        room: bytes for the temporaries of all lanes.
    """
    # First, for the compiler cannot ask for the number of threads.
    if _is_watched():
        return 1
    threads = torch.get_num_threads()
    if not 2 <= threads <= MOST_LANES:
        return 1
    heavy = [alike for alike in work if alike.cost.multiplications >= LEAST_OF_ONE]
    multiplied = [alike.cost.multiplications for alike in heavy for _ in alike.parts]
    if sum(multiplied) < LEAST_OF_ALL:
        return 1
    has_room = threads * max(alike.cost.workspace_bytes for alike in heavy) <= room
    is_balanced = _longest_lane(multiplied, threads) <= LARGEST_IMBALANCE * sum(multiplied) / threads
    is_plain = all(_is_plain(part.weight) for alike in work for part in alike.parts)
    return threads if has_room and is_balanced and is_plain else 1


def run_in_lanes(jobs: Iterable[Job], lanes: int) -> None:
    """Each job once, begun in this order; the first error ends all lanes after their present job and is raised.

    Args:
        jobs: the longest first. No two write to the same.
        lanes: threads, this one included; 1 is a plain loop.
    """
    if lanes == 1:
        for job in jobs:
            job()
        return
    waiting, errors = deque(jobs), list[BaseException]()
    others = [threading.Thread(target=_lane, args=(waiting, errors), name=NAME) for _ in range(1, lanes)]
    with one_thread():
        try:
            for other in others:
                other.start()
            _work(waiting, errors)
        finally:
            # After an interrupt too: whoever catches it may save the weights.
            waiting.clear()
            for other in others:
                if other.ident is not None:
                    other.join()
    if errors:
        raise errors[0]


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch has one thread meanwhile, everywhere in the process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _lane(waiting: deque[Job], errors: list[BaseException]) -> None:
    # A new thread has OpenMP's default, whatever torch's is.
    torch.set_num_threads(1)
    with torch.no_grad():
        _work(waiting, errors)


def _work(waiting: deque[Job], errors: list[BaseException]) -> None:
    # Not a look first: another lane may take the last one meanwhile.
    with suppress(IndexError):
        while True:
            _run(waiting.popleft(), waiting, errors)


def _run(job: Job, waiting: deque[Job], errors: list[BaseException]) -> None:
    try:
        job()
    # Whatever it is: the caller raises it, and an interrupt reaches the main thread only.
    except BaseException as error:
        errors.append(error)
        waiting.clear()


def _longest_lane(works: Iterable[int], lanes: int) -> int:
    """What the last lane to end has done, where each takes the next work as soon as it has ended one."""
    ends = [0] * lanes
    for work in works:
        heapq.heapreplace(ends, ends[0] + work)
    return max(ends)


def _is_plain(weight: Tensor) -> bool:
    """Whether it lies whole on this CPU; the ranks of a sharded weight must talk in one order."""
    return type(weight) in (Tensor, nn.Parameter) and weight.device.type == "cpu"


def _is_watched() -> bool:
    """Whether a compiler or a mode looks on that sees one thread only."""
    return torch.compiler.is_compiling() or is_in_torch_dispatch_mode() or torch.is_autocast_enabled("cpu")
