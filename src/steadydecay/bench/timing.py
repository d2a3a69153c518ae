"""Time several pieces of work in turn, so that whatever slows the machine for a while slows all of them."""

import time
from collections.abc import Callable, Iterator, Mapping

import torch

from steadydecay.bench.product_times import synchronize


def rotated(names: list[str], repetition: int) -> list[str]:
    """Rotate the names, so that each repetition begins with another one.

    >>> rotated(["a", "b", "c"], 4)
    ['b', 'c', 'a']
    """
    start = repetition % len(names)
    return names[start:] + names[:start]


def seconds(work: Callable[[], None], device: torch.device) -> float:
    """Until the device is done."""
    synchronize(device)
    start = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - start


def in_turn(works: Mapping[str, Callable[[], float]], repetitions: int) -> Iterator[dict[str, float]]:
    """What each work says it took, once for each repetition."""
    for repetition in range(repetitions):
        taken = {name: works[name]() for name in rotated(list(works), repetition)}
        yield {name: taken[name] for name in works}
