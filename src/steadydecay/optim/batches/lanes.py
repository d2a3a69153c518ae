"""Several Python threads with one torch thread each, every one of which steps its own weights.

Threads that share each product of matrices of a few hundred rows wait for each other as long as they multiply. Separate
threads never wait, and one thread alone multiplies nearly as fast as the processor can. In the meantime torch's number
of threads is 1 everywhere in the process. A lane with several threads of its own would exceed the number of processors,
and OpenMP would then put all threads to sleep between any two operations, those of the model too.
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

# More than two lanes were not measured. While Python works for one lane, it cannot work for another.
MOST_LANES = 4
# With fewer multiplications for one weight, about those of 256×256, Python is busy most of the time.
LEAST_OF_ONE = 2 * 10**8
# With fewer multiplications for all such weights, starting a thread takes longer than it saves.
LEAST_OF_ALL = 8 * 10**9
# How much longer than an equal share the last lane may take.
LARGEST_IMBALANCE = 1.1

NAME = "lane of an optimizer"

Job = Callable[[], None]


def lanes_for(work: Sequence[AlikeParts], room: int) -> int:
    """Return as many lanes as torch has threads, or 1 if the threads are better used together on each product.

    Args:
        work: Everything that is stepped, the longest first.
        room: The bytes for the temporaries of all lanes.
    """
    # Check this first, because the compiler cannot ask for the number of threads.
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
    """Run each job once, started in this order. The first error ends all lanes after their present job and is raised.

    Args:
        jobs: The jobs, the longest first. No two write to the same memory.
        lanes: The number of threads including this one; 1 is a plain loop.
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
            # Join after an interrupt too, because its handler may save the weights.
            waiting.clear()
            for other in others:
                if other.ident is not None:
                    other.join()
    if errors:
        raise errors[0]


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread in the meantime, everywhere in the process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _lane(waiting: deque[Job], errors: list[BaseException]) -> None:
    # A new thread has OpenMP's default number of threads, whatever torch's is.
    torch.set_num_threads(1)
    with torch.no_grad():
        _work(waiting, errors)


def _work(waiting: deque[Job], errors: list[BaseException]) -> None:
    # Do not check first, because another lane may take the last job in the meantime.
    with suppress(IndexError):
        while True:
            _run(waiting.popleft(), waiting, errors)


def _run(job: Job, waiting: deque[Job], errors: list[BaseException]) -> None:
    try:
        job()
    # Catch everything: the caller raises it, and an interrupt reaches only the main thread.
    except BaseException as error:
        errors.append(error)
        waiting.clear()


def _longest_lane(works: Iterable[int], lanes: int) -> int:
    """Return the work of the busiest lane, if each takes the next work as soon as it has finished one."""
    ends = [0] * lanes
    for work in works:
        heapq.heapreplace(ends, ends[0] + work)
    return max(ends)


def _is_plain(weight: Tensor) -> bool:
    """Return whether a weight is whole on this CPU; ranks that share a weight must communicate in one order."""
    return type(weight) in (Tensor, nn.Parameter) and weight.device.type == "cpu"


def _is_watched() -> bool:
    """Return whether a compiler or a mode is active that sees only one thread."""
    return torch.compiler.is_compiling() or is_in_torch_dispatch_mode() or torch.is_autocast_enabled("cpu")
