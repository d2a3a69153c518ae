"""Measure how much memory a piece of work takes and keeps.

On CUDA, the numbers are those of the caching allocator. On the CPU, they are the profiler's record of what torch's
allocator gave and took back, including the operands that oneDNN packs for a product. The profiler sees only one
thread, which is why there is `lanes_in_turn`.
"""

import gc
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile, record_function

from steadydecay.bench.silence import silent_errors

PIECE = "a piece of work"
SIDE_BY_SIDE = "job side by side with others, in all "


class Allocations(NamedTuple):
    """The allocations of one piece of work. Bytes are above those at the start of the first piece."""

    peak: int
    """The most at one time, including what earlier pieces kept."""
    kept: int
    """The number of bytes at the end."""
    calls: int
    """The number of calls of ATen operators, without those that an operator makes itself."""


def allocations(works: Sequence[Callable[[], Any]], device: torch.device) -> list[Allocations]:
    """Run these pieces of work once, one after the other, under the profiler."""
    gc.collect()
    return _on_cuda(works, device) if device.type == "cuda" else _on_cpu(works)


def _on_cuda(works: Sequence[Callable[[], Any]], device: torch.device) -> list[Allocations]:
    before = torch.cuda.memory_allocated(device)
    bytes_of: list[tuple[int, int]] = []

    def measured(work: Callable[[], Any]) -> None:
        torch.cuda.reset_peak_memory_stats(device)
        work()
        bytes_of.append((torch.cuda.max_memory_allocated(device), torch.cuda.memory_allocated(device)))

    events = _events([partial(measured, work) for work in works], with_memory=False)
    return [
        Allocations(peak - before, kept - before, outermost_calls(part))
        for (peak, kept), part in zip(bytes_of, events, strict=True)
    ]


def _on_cpu(works: Sequence[Callable[[], Any]]) -> list[Allocations]:
    found, held = [], 0
    for events in _events(works, with_memory=True):
        peak, held = _peak_and_end(events, held)
        found.append(Allocations(peak, held, outermost_calls(events)))
    return found


def _peak_and_end(events: Iterable[Any], held: int) -> tuple[int, int]:
    """Return levels in bytes. Of jobs that run one after the other only here, the highest peaks count together."""
    peak = level = before_jobs = held
    at_once, end, peaks = 1, 0, list[int]()
    for event in events:
        if event.name().startswith(SIDE_BY_SIDE):
            before_jobs, end = level, event.start_ns() + event.duration_ns()
            at_once = int(event.name().removeprefix(SIDE_BY_SIDE))
            peaks.append(0)
        elif event.name() == "[memory]":
            level += event.nbytes()
            if event.start_ns() < end:
                peaks[-1] = max(peaks[-1], level - before_jobs)
            else:
                peak = max(peak, level)
    return max(peak, before_jobs + sum(sorted(peaks)[-at_once:])), level


def _events(works: Sequence[Callable[[], Any]], with_memory: bool) -> list[list[Any]]:
    """Return the events of each piece of work, in the order of their start.

    All of them run in one session, because a release of what was allocated before a session is not recorded.
    """
    profiled = profile(activities=[ProfilerActivity.CPU], profile_memory=with_memory)
    with silent_errors():
        profiled.start()
    try:
        for work in works:
            with record_function(PIECE):
                work()
                gc.collect()
    finally:
        with silent_errors():
            profiled.stop()
    # The public events lack allocations inside operators.
    recorded: Any = profiled.profiler
    parts: list[list[Any]] = []
    for event in sorted(recorded.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == PIECE:
            parts.append([])
        elif parts:
            parts[-1].append(event)
    return parts


def outermost_calls(events: Iterable[Any]) -> int:
    """Count ATen operators that are not inside another one, from events in the order of their start."""
    count, end = 0, 0
    for event in events:
        if event.name().startswith("aten::") and event.start_ns() >= end:
            count += 1
            end = event.start_ns() + event.duration_ns()
    return count


def state_bytes(optimizers: Iterable[torch.optim.Optimizer]) -> int:
    """Return the bytes of all storages in the optimizers' state, counting each once."""
    storages = {}
    for optimizer in optimizers:
        for tensor in _tensors(list(optimizer.state.values())):
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    return sum(storages.values())


def _tensors(value: Any) -> Iterable[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _tensors(one)
