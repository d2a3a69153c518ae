"""One run: measure the contestants that can be imported, in groups that fit into memory, each beside ScionC."""

import difflib
import fnmatch
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import TypeVar

import torch

from steadydecay.bench.contender_weights import random_gradients
from steadydecay.bench.course import Course, GroupResult, one_line
from steadydecay.bench.machine import circumstances, memory_of
from steadydecay.bench.peers import CONTESTANTS, REFERENCE
from steadydecay.bench.product_times import dtypes_of
from steadydecay.bench.results import Result
from steadydecay.bench.room import require_room
from steadydecay.bench.shape_sets import SHAPE_SETS, Entry
from steadydecay.bench.work import least_work, plain_work

T = TypeVar("T")


def benchmark(
    shape_set: str,
    only: Sequence[str],
    repetitions: int,
    device: torch.device,
    layers: int | None,
    command: str,
    say: Callable[[str], None],
) -> Result:
    """Measure a set of shapes.

    Args:
        shape_set: A key of `SHAPE_SETS`.
        only: Names or name patterns of contestants, or nothing for all. The reference always takes part.
        repetitions: The number of timed steps of each contestant, ≥ 1.
        layers: The number of blocks to use instead of all.
        device: The device to measure on.
        command: The command as it was given, for the record.
        say: Called with a line about what is going on.

    Raises:
        ValueError: An argument is outside its range, a pattern matches no name, or the set is too large for the device.
    """
    whole = _require(SHAPE_SETS, "set", shape_set)
    layers = whole.layers if layers is None else layers
    for name, number in {"repetitions": repetitions, "layers": layers}.items():
        if number < 1:
            raise ValueError(f"{name} is {number}; it must be 1 or more")
    names = matching(only)
    entries = whole.entries(layers)
    parameters = size_of(entries)
    room = require_room(shape_set, parameters, layers, size_of(whole.block), memory_of(device))
    modules, missing = imported(names, device)
    course = Course(entries, random_gradients(entries, device), device, repetitions, say)
    others = [name for name in modules if name != REFERENCE]
    groups = [others[start : start + room] for start in range(0, len(others), room)] or [[]]
    results = [course.run([REFERENCE, *group], modules) for group in groups]
    return Result(
        shape_set=shape_set,
        layers=layers,
        all_layers=whole.layers,
        parameters=parameters,
        plain_work=plain_work(entries),
        least_work={_name(dtype): least_work(entries, dtype) for dtype in dtypes_of(device)},
        rates=_joined_rates(results),
        rows=[row for index, result in enumerate(results) for row in result.rows if row.name != REFERENCE or not index],
        missing=missing | {name: error for result in results for name, error in result.missing.items()},
        **circumstances(command, device, {"torch", *(CONTESTANTS[name].distribution for name in modules)}),
    )


def matching(only: Sequence[str]) -> list[str]:
    """Return the matching contestants and the reference, in the order of the table."""
    for pattern in only:
        if not fnmatch.filter(CONTESTANTS, pattern):
            _require(CONTESTANTS, "only", pattern)
    chosen = {name for pattern in only or ["*"] for name in fnmatch.filter(CONTESTANTS, pattern)}
    return [name for name in CONTESTANTS if name in chosen or name == REFERENCE]


def imported(names: Sequence[str], device: torch.device) -> tuple[dict[str, ModuleType], dict[str, str]]:
    """Return the modules of the contestants that can take part, and in one line why the others cannot."""
    modules: dict[str, ModuleType] = {}
    missing: dict[str, str] = {}
    for name in names:
        if CONTESTANTS[name].not_on_cpu and device.type == "cpu":
            missing[name] = CONTESTANTS[name].not_on_cpu
            continue
        # A package may fail for any reason during its import, such as a missing compiler or another version of torch.
        try:
            modules[name] = import_module(CONTESTANTS[name].module)
        except Exception as error:
            missing[name] = one_line(error)
    return modules, missing


def size_of(entries: Sequence[Entry]) -> int:
    return sum(math.prod(shape) for _, shape, _ in entries)


def _require(table: Mapping[str, T], argument: str, name: str) -> T:
    if name in table:
        return table[name]
    nearest = difflib.get_close_matches(name, table, n=1, cutoff=0.3)
    guess = f"; did you mean {nearest[0]!r}?" if nearest else ""
    raise ValueError(f"{argument} is {name!r}; it must be one of {', '.join(table)}{guess}")


def _joined_rates(results: Sequence[GroupResult]) -> dict[str, list[float]]:
    joined: dict[str, list[float]] = defaultdict(list)
    for result in results:
        for dtype, rates in result.rates.items():
            joined[dtype] += rates
    return dict(joined)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
