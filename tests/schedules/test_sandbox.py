"""Schedules that remember their calls: asking a copy for the peak changes no lr, no generator and nobody's records."""

import functools
import itertools
import random
import threading
import types
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

import steadydecay as sd
from steadydecay.schedules.sandbox import Copier, OutOfReach, OutOfReachError

LR, STEPS = 1e-3, 12
Build = Callable[[Optimizer], LRScheduler]
CALLS = {"made": 0}
ROWS: list[float] = []


def optimizer_of(kind: str) -> Optimizer:
    group = {"params": [nn.Parameter(torch.ones(4, 4))], "role": "hidden"}
    return (sd.AdamC if kind == "AdamC" else torch.optim.AdamW)([group], lr=LR, weight_decay=0.1)


def rising(calls: float) -> float:
    return min(1.0, calls / 50)


def default_argument(_: int, calls: list[int] = [0]) -> float:  # noqa: B006
    calls[0] += 1
    return rising(calls[0])


def global_counter(_: int) -> float:
    CALLS["made"] += 1
    return rising(CALLS["made"])


def recorded(step: int) -> float:
    ROWS.append(step)
    return rising(10 * step)


def random_factor(_: int) -> float:
    return random.random() * np.random.rand() * float(torch.rand(()))


def nonlocal_counter() -> Callable[[int], float]:
    calls = 0

    def factor(_: int) -> float:
        nonlocal calls
        calls += 1
        return rising(calls)

    return factor


class Counter:
    def __init__(self) -> None:
        self.calls = [0]

    def __call__(self, _: int) -> float:
        self.calls[0] += 1
        return rising(self.calls[0])

    def slowly(self, _: int) -> float:
        return self(0) / 2


def next_of(values: Any) -> Callable[[int], float]:
    return lambda _: next(values)


class Stateful(LRScheduler):
    """Its lr follows from a state of some kind, which it moves itself."""

    def __init__(self, optimizer: Optimizer, state: Any, advance: Callable[[Any], float]) -> None:
        self.state, self.advance = state, advance
        super().__init__(optimizer)

    def get_lr(self) -> list[Any]:
        factor = self.advance(self.state)
        return [base * factor for base in self.base_lrs]


def of_namespace(state: Any) -> float:
    state.t += 1
    return rising(state.t)


def of_tensor(state: Any) -> float:
    state += 1
    return rising(float(state))


def of_history(state: Any) -> float:
    state["past"].append(0)
    return rising(len(state["past"]))


def of_semaphore(state: Any) -> float:
    return rising(state.acquire() + state._value)


# Made anew for each run.
FACTORS: dict[str, Callable[[], Callable[[int], float]]] = {
    "default argument": lambda: default_argument,
    "global": lambda: global_counter,
    "nonlocal": nonlocal_counter,
    "callable object": Counter,
    "bound method": lambda: Counter().slowly,
    "partial": lambda: functools.partial(Counter.__call__, Counter()),
    "finite iterator": lambda: next_of(iter([i / 200 for i in range(1, 201)])),
    "itertools": lambda: next_of(itertools.cycle([0.1, 0.5, 1.0])),
    "generator": lambda: next_of(i / 200 for i in range(1, 201)),
    "recorder": lambda: recorded,
    "random numbers": lambda: random_factor,
}
STATES: dict[str, tuple[Callable[[], Any], Callable[[Any], float]]] = {
    "namespace": (lambda: types.SimpleNamespace(t=0), of_namespace),
    "deque": (lambda: {"past": deque(maxlen=40)}, of_history),
    "list in a dict": (lambda: {"past": []}, of_history),
    "tensor": (lambda: torch.zeros(()), of_tensor),
    "lock": (lambda: threading.Semaphore(1000), of_semaphore),
    "generator of NumPy": (lambda: np.random.default_rng(0), lambda state: state.random()),
}


def scheduled(name: str, optimizer: Optimizer) -> LRScheduler:
    if name in FACTORS:
        return LambdaLR(optimizer, FACTORS[name]())
    state, advance = STATES[name]
    return Stateful(optimizer, state(), advance)


def lrs_of(name: str, kind: str, *, is_followed: bool) -> tuple[list[float], int]:
    """Of a run, and how often the schedule has told somebody of a step."""
    CALLS["made"] = default_argument.__defaults__[0][0] = 0  # pyright: ignore[reportOptionalSubscript]
    ROWS.clear()
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    optimizer = optimizer_of(kind if is_followed else "AdamW")
    schedule = scheduled(name, optimizer)
    if is_followed and kind == "AdamW":
        sd.correct_weight_decay(optimizer)
    lrs = []
    for _ in range(STEPS):
        optimizer.param_groups[0]["params"][0].grad = torch.ones(4, 4)
        lrs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return lrs, len(ROWS)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["AdamW", "AdamC"])
@pytest.mark.parametrize("name", [*FACTORS, *STATES])
def test_a_schedule_that_remembers_its_calls_is_as_without_the_correction(name: str, kind: str) -> None:
    assert lrs_of(name, kind, is_followed=True) == lrs_of(name, kind, is_followed=False)


def copied(value: Any) -> Any:
    return Copier(optimizer_of("AdamW")).copied(value)


def test_what_is_held_twice_stays_one_and_what_holds_itself_is_copied() -> None:
    shared: list[Any] = [1]
    holder = types.SimpleNamespace(a=shared, b=shared)
    shared.append(holder)
    twin = copied(holder)
    assert twin is not holder
    assert twin.a is twin.b is not shared
    assert twin.a[1] is twin


def test_what_a_schedule_leaves_alone_need_not_be_copied_and_what_it_touches_is_refused() -> None:
    holder = types.SimpleNamespace(lock=threading.Lock(), lines=(line for line in "ab"))
    twin = copied(holder)
    assert isinstance(twin.lock, OutOfReach)
    touches = [lambda: twin.lock.acquire(), lambda: next(twin.lines), lambda: len(twin.lines), lambda: twin.lock + 1]
    for touch in touches:
        with pytest.raises(OutOfReachError):
            touch()
    assert next(holder.lines) == "a"


def test_models_and_large_tensors_are_shared_and_endless_structures_refused() -> None:
    model, large = nn.Linear(3, 3), torch.zeros(10**5 + 1)
    twin = copied(types.SimpleNamespace(model=model, large=large))
    assert twin.model is model
    assert twin.large is large
    with pytest.raises(OutOfReachError, match="too much"):
        copied([[index] for index in range(30_000)])
