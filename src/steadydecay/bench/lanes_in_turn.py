"""Run our optimizers' lanes one after the other, because torch's profiler sees only one thread."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext

from torch.profiler import record_function

from steadydecay.bench.memory import SIDE_BY_SIDE
from steadydecay.optim.batches import shape_batches
from steadydecay.optim.batches.lanes import Job, one_thread


@contextmanager
def lanes_in_turn() -> Iterator[None]:
    """Run the work of lanes in this thread, marked so that `memory.allocations` counts it as simultaneous."""
    run_in_lanes = shape_batches.run_in_lanes
    shape_batches.run_in_lanes = _run_in_turn
    try:
        yield
    finally:
        shape_batches.run_in_lanes = run_in_lanes


def _run_in_turn(jobs: Iterable[Job], lanes: int) -> None:
    with one_thread() if lanes > 1 else nullcontext():
        for job in jobs:
            with record_function(f"{SIDE_BY_SIDE}{lanes}"):
                job()
