"""Schedulers tell their peak before it comes, as a run of them to the end finds it, and nothing of them changes."""

import copy
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_optimizer import CosineAnnealingWarmupRestarts as WarmUpRestarts
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    MultiplicativeLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)
from torch.optim.swa_utils import SWALR
from transformers import (
    get_cosine_schedule_with_warmup,
    get_cosine_with_hard_restarts_schedule_with_warmup,
    get_inverse_sqrt_schedule,
    get_linear_schedule_with_warmup,
    get_polynomial_decay_schedule_with_warmup,
    get_wsd_schedule,
)

import steadydecay as sd
from steadydecay.schedules.peaks import Asked, peak_lrs, peaks_of, schedulers_of, settled_peaks

LR = 0.1
Build = Callable[[Optimizer], LRScheduler]


def noam(step: int, width: int = 512, warmup: int = 400) -> float:
    step = max(step, 1)
    return width**-0.5 * min(step**-0.5, step * warmup**-1.5)


class Noam(LRScheduler):
    """As courses write it."""

    def get_lr(self) -> list[Any]:
        return [base * noam(self.last_epoch) for base in self.base_lrs]


class Counts:
    """A callable with a state."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, step: int) -> float:
        self.calls += 1
        return 4 * noam(step)

    def factor(self, step: int) -> float:
        return self(step)


def in_sequence(milestone: int, *parts: Build) -> Build:
    return lambda optimizer: SequentialLR(optimizer, [part(optimizer) for part in parts], [milestone])


def by(factor: Any) -> Build:
    return lambda optimizer: LambdaLR(optimizer, factor)


SCHEDULES: dict[str, Build] = {
    "Noam": by(noam),
    "Noam, a class": Noam,
    "Noam, a callable": lambda optimizer: LambdaLR(optimizer, Counts()),
    "Noam, a method": lambda optimizer: LambdaLR(optimizer, Counts().factor),
    "warm-up to 8 times": by(lambda step: 8 * min((step + 1) / 300, max(0.0, 1 - step / 2500))),
    "warm-up to 8 times, slow": by(lambda step: min(8.0, (step + 1) / 1000 * 2) if step < 2900 else 0.1),
    "stable at 3": by(lambda step: min(3.0, 1 + step / 50)),
    "a fifth": by(lambda step: 0.2),
    "a table": by([0.5, 1.0, 5.0, 3.0].__getitem__),
    "a table that rises": by([0.5, 1.0, 5.0, 6.0].__getitem__),
    "polynomial": by(lambda step: 8 * min(step / 100, 1.0) * (1 - min(step, 2000) / 2000) ** 2),
    "spike": by(lambda step: 7.0 if step == 3 else 1.0),
    "one cycle": lambda optimizer: OneCycleLR(optimizer, max_lr=0.7, total_steps=500),
    "triangles": lambda optimizer: CyclicLR(optimizer, 0.01, 0.3, step_size_up=777, cycle_momentum=False),
    "falling triangles": lambda optimizer: CyclicLR(optimizer, 0.01, 0.3, step_size_up=50, mode="triangular2"),
    "cosine": lambda optimizer: CosineAnnealingLR(optimizer, 500),
    "warm restarts": lambda optimizer: CosineAnnealingWarmRestarts(optimizer, 100, 2),
    "warm-up and restarts": lambda optimizer: WarmUpRestarts(optimizer, 200, max_lr=0.4, min_lr=0.01, warmup_steps=20),
    "linear, then cosine": in_sequence(
        40,
        lambda optimizer: LinearLR(optimizer, 0.1, total_iters=40),
        lambda optimizer: CosineAnnealingLR(optimizer, 90),
    ),
    "two Lambdas": in_sequence(
        50, by(lambda step: 6 * (step + 1) / 50), by(lambda step: 6 * max(0.0, 1 - (step + 1) / 50))
    ),
    "a second phase that is higher": in_sequence(30, by(lambda step: 1.0), by(lambda step: 5 * 0.99**step)),
    "a sequence of recursions": in_sequence(
        30,
        lambda optimizer: MultiplicativeLR(optimizer, lambda step: 1.05),
        lambda optimizer: MultiplicativeLR(optimizer, lambda step: 0.95),
    ),
    "a chain": lambda optimizer: ChainedScheduler(
        [LinearLR(optimizer, 0.1, total_iters=40), ExponentialLR(optimizer, 0.999)]
    ),
    "multiplied": lambda optimizer: MultiplicativeLR(optimizer, lambda step: 1.1 if step < 20 else 0.9),
    "steps": lambda optimizer: StepLR(optimizer, 30),
    "exponential": lambda optimizer: ExponentialLR(optimizer, 0.99),
    "polynomial of torch": lambda optimizer: PolynomialLR(optimizer, 100, 2.0),
    "a third, then all": lambda optimizer: ConstantLR(optimizer),
    "SWA": lambda optimizer: SWALR(optimizer, 0.05),
    "SWA, higher": lambda optimizer: SWALR(optimizer, 0.3),
    "effective lr": lambda optimizer: sd.EffectiveLR(optimizer, "cosine", steps=500, warmup_steps=50),
    "effective lr, a callable": lambda optimizer: sd.EffectiveLR(optimizer, lambda step: 0.5, steps=500),
    "cosine of transformers": lambda optimizer: get_cosine_schedule_with_warmup(optimizer, 50, 500),
    "restarts of transformers": lambda optimizer: get_cosine_with_hard_restarts_schedule_with_warmup(
        optimizer, 50, 500, 3
    ),
    "linear of transformers": lambda optimizer: get_linear_schedule_with_warmup(optimizer, 50, 500),
    "inverse root of transformers": lambda optimizer: get_inverse_sqrt_schedule(optimizer, 200),
    "polynomial of transformers": lambda optimizer: get_polynomial_decay_schedule_with_warmup(optimizer, 50, 500),
    "WSD of transformers": lambda optimizer: get_wsd_schedule(optimizer, 50, 100, num_stable_steps=300),
}
# Of these the lr rises for as long as it is asked.
ENDLESS: dict[str, Build] = {
    "a line": by(lambda step: (step + 1) / 10),
    "a root": by(lambda step: (step + 1) ** 0.5),
    "a range test": lambda optimizer: ExponentialLR(optimizer, 1.01),
    "growing steps": lambda optimizer: StepLR(optimizer, 100, 2.0),
    "growing by recursion": lambda optimizer: MultiplicativeLR(optimizer, lambda step: 1.001),
}


def adamw(*lrs: Any) -> torch.optim.AdamW:
    groups = [{"params": [nn.Parameter(torch.zeros(2, 2))], "lr": lr} for lr in lrs or (LR,)]
    return torch.optim.AdamW(groups)


def highest(build: Build, steps: int = 3000) -> float:
    """The largest lr of a run of the schedule."""
    optimizer = adamw()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler = build(optimizer)
        found = [optimizer.param_groups[0]["lr"]]
        for _ in range(steps):
            try:
                scheduler.step()
            except (IndexError, ValueError):
                break
            found.append(optimizer.param_groups[0]["lr"])
    return max(found)


@pytest.mark.parametrize("build", SCHEDULES.values(), ids=SCHEDULES.keys())
def test_the_peak_is_that_of_a_run(build: Build) -> None:
    optimizer = adamw()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler = build(optimizer)
    assert peaks_of(scheduler, optimizer) == [pytest.approx(highest(build), rel=1e-9)]


@pytest.mark.parametrize("build", ENDLESS.values(), ids=ENDLESS.keys())
def test_of_a_rise_without_end_no_peak_is_told(build: Build) -> None:
    optimizer = adamw()
    scheduler = build(optimizer)
    assert peaks_of(scheduler, optimizer) is None


@pytest.mark.parametrize("factor", [lambda step: (1 - step / 100) ** 2, lambda step: (1 - step / 100) ** 0.9])
def test_beyond_the_end_of_a_run_a_formula_counts_for_nothing(factor: Any) -> None:
    """(1 - t/T)² rises again after T, and (1 - t/T)^0.9 is complex there."""
    optimizer = adamw()
    scheduler = LambdaLR(optimizer, factor)
    assert peaks_of(scheduler, optimizer) == [LR]


def test_each_group_has_its_own_peak() -> None:
    optimizer = adamw(0.1, 0.2)
    scheduler = LambdaLR(optimizer, [noam, lambda step: 3.0])
    assert peaks_of(scheduler, optimizer) == [pytest.approx(0.1 * noam(400)), pytest.approx(0.6)]


@pytest.mark.parametrize("build", [*SCHEDULES.values(), *ENDLESS.values()], ids=[*SCHEDULES, *ENDLESS])
def test_asking_changes_nothing_and_warns_of_nothing(build: Build) -> None:
    optimizer = adamw(torch.tensor(LR) if build is SCHEDULES["cosine"] else LR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler = build(optimizer)
    before = copy.deepcopy((_plain(scheduler), [{**group, "params": 0} for group in optimizer.param_groups]))
    generator = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        peaks_of(scheduler, optimizer)
    assert (_plain(scheduler), [{**group, "params": 0} for group in optimizer.param_groups]) == before
    assert torch.equal(torch.get_rng_state(), generator)
    assert "_opt_called" not in vars(optimizer)


def _plain(scheduler: Any) -> Any:
    """What a scheduler holds, and those that it steps, as plain values."""
    if isinstance(scheduler, LRScheduler):
        return {name: _plain(value) for name, value in vars(scheduler).items() if not isinstance(value, Optimizer)}
    if isinstance(scheduler, list):
        return [_plain(one) for one in scheduler]
    return _plain(vars(scheduler)) if isinstance(scheduler, Counts) else scheduler if not callable(scheduler) else 0


def test_random_factors_leave_the_generator_as_it_is() -> None:
    optimizer = adamw()
    scheduler = LambdaLR(optimizer, lambda step: float(torch.rand(())))
    state = torch.get_rng_state()
    peaks_of(scheduler, optimizer)
    assert torch.equal(torch.get_rng_state(), state)


# --- which schedulers there are ---


class Plain(Optimizer):
    """A wrapper on which the scheduler is made."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.inside, self.param_groups, self.defaults = optimizer, optimizer.param_groups, optimizer.defaults

    def step(self, closure: Any = None) -> Any:
        return self.inside.step(closure)


def test_schedulers_are_found_on_the_optimizer_and_on_wrappers_around_it() -> None:
    optimizer = adamw()
    assert schedulers_of(optimizer) == []
    scheduler = by(noam)(optimizer)
    assert schedulers_of(optimizer) == [scheduler]
    scheduler.state_dict()
    assert schedulers_of(optimizer) == [scheduler], "also where its attributes have been looked at"
    del scheduler
    assert schedulers_of(optimizer) == []
    around = Plain(Plain(optimizer))
    scheduler = by(noam)(around)
    assert schedulers_of(optimizer) == [scheduler]
    assert peak_lrs(optimizer) == [pytest.approx(LR * noam(400))]


def test_lists_of_arrays_beside_the_optimizer_are_no_obstacle() -> None:
    optimizer = adamw()
    scheduler = by(noam)(optimizer)
    beside = [np.zeros(3), torch.zeros(3), optimizer], {"optimizer": optimizer, "data": np.zeros(3)}
    assert schedulers_of(optimizer) == [scheduler]
    assert len(beside) == 2


def test_what_another_scheduler_steps_does_not_count_by_itself() -> None:
    optimizer = adamw()
    scheduler = SCHEDULES["two Lambdas"](optimizer)
    assert schedulers_of(optimizer) == [scheduler]
    scheduler.load_state_dict(scheduler.state_dict())
    assert schedulers_of(optimizer) == [scheduler]


def test_several_that_agree_tell_the_peak_and_several_that_do_not_tell_none() -> None:
    optimizer = adamw()
    warm_up, falling = LinearLR(optimizer, 0.1, total_iters=20), CosineAnnealingLR(optimizer, 100)
    assert peak_lrs(optimizer) == [LR]
    plateau = ReduceLROnPlateau(optimizer)
    assert peak_lrs(optimizer) == [LR], "it only lowers the lr"
    higher = by(lambda step: 2.0)(optimizer)
    assert peak_lrs(optimizer) is None
    assert len({id(one) for one in (warm_up, falling, plateau, higher)}) == 4


@pytest.mark.parametrize("steps", [0, 100, 1000])
def test_a_schedule_that_is_under_way_is_asked_for_its_past_too(steps: int) -> None:
    optimizer = adamw()
    scheduler = by(noam)(optimizer)
    optimizer.step()
    for _ in range(steps):
        scheduler.step()
    assert peaks_of(scheduler, optimizer) == [pytest.approx(LR * noam(400))]


def test_a_recursion_that_may_have_passed_its_peak_tells_none() -> None:
    optimizer = adamw()
    scheduler = SCHEDULES["multiplied"](optimizer)
    optimizer.step()
    for _ in range(60):
        scheduler.step()
    assert peaks_of(scheduler, optimizer) is None


class Needy(LRScheduler):
    """Asks its optimizer for what a stand-in has not."""

    def get_lr(self) -> list[Any]:
        if self.last_epoch > 2:
            return [0.0 if self.optimizer.state else math.inf]
        return [LR]


def test_what_cannot_be_asked_tells_none() -> None:
    optimizer = adamw()
    scheduler = Needy(optimizer)
    assert peaks_of(scheduler, optimizer) == [LR]

    def failing() -> None:
        raise RuntimeError("not today")

    scheduler.get_lr = failing  # pyright: ignore[reportAttributeAccessIssue]
    assert peaks_of(scheduler, optimizer) == [LR]
    slotted = type("Slotted", (LambdaLR,), {"optimizer": property(lambda self: adamw())})
    assert peaks_of(object.__new__(slotted), optimizer) is None


def test_settled_peaks() -> None:
    def of(*lrs: float, has_end: bool = False) -> list[float] | None:
        return settled_peaks(Asked([[lr] for lr in lrs], has_end))

    assert of(1.0, 3.0, 2.0) == [3.0]
    assert of(1.0, 2.0, 3.0) is None
    assert of(1.0, 2.0, 3.0, has_end=True) == [3.0]
    assert of(1.0, 3.0, *[3.0] * 8) == [3.0]
    assert of(2.0, 1.0, 5.0, 9.0) == [2.0]


def test_a_recursive_schedule_past_a_peak_tells_none() -> None:
    """Its lr of the moment is the highest to come, and no reference."""
    optimizer = torch.optim.AdamW([nn.Parameter(torch.ones(2, 2))], lr=1e-3)
    schedule = MultiplicativeLR(optimizer, lambda step: 1.05 if step < 50 else 0.99)
    for step in range(150):
        optimizer.step()
        schedule.step()
        if step == 20:
            assert peak_lrs(optimizer) == [pytest.approx(1e-3 * 1.05**49, rel=1e-6)]
    assert peak_lrs(optimizer) is None


class GradualWarmup(LRScheduler):
    """As many projects hold it: it steps another schedule after its own rise."""

    def __init__(self, optimizer: Optimizer, multiplier: float, steps: int, after_scheduler: LRScheduler) -> None:
        self.multiplier, self.steps, self.after_scheduler, self.is_over = multiplier, steps, after_scheduler, False
        super().__init__(optimizer)

    def get_lr(self) -> list[Any]:
        if self.last_epoch > self.steps:
            return self.after_scheduler.get_last_lr()
        return [base * (1 + (self.multiplier - 1) * self.last_epoch / self.steps) for base in self.base_lrs]

    def step(self, epoch: int | None = None) -> None:
        if self.last_epoch >= self.steps:
            if not self.is_over:
                self.after_scheduler.base_lrs = [base * self.multiplier for base in self.base_lrs]
                self.is_over = True
            self.last_epoch += 1
            self.after_scheduler.step()
        else:
            super().step()


def test_a_warm_up_that_steps_another_schedule_is_one_schedule() -> None:
    optimizer = torch.optim.AdamW([nn.Parameter(torch.ones(2, 2))], lr=1e-3)
    schedule = GradualWarmup(optimizer, 8, 20, CosineAnnealingLR(optimizer, 200))
    assert schedulers_of(optimizer) == [schedule]
    assert peak_lrs(optimizer) == [pytest.approx(8e-3, rel=1e-3)]


def of_many_groups(build: Build, lrs: list[float]) -> tuple[Any, Any]:
    optimizer = torch.optim.SGD([{"params": [nn.Parameter(torch.ones(1))], "lr": lr} for lr in lrs], 0.1, momentum=0.9)
    return optimizer, build(optimizer)


@pytest.mark.parametrize("build", SCHEDULES.values(), ids=SCHEDULES)
def test_many_groups_have_the_peaks_that_each_has_alone(build: Build) -> None:
    lrs = [0.1, 0.2, 0.1, 0.2, 0.3, 0.1]
    optimizer, scheduler = of_many_groups(build, lrs)
    alone = [peaks_of(*reversed(of_many_groups(build, [lr]))) for lr in lrs]
    assert peaks_of(scheduler, optimizer) == (None if None in alone else [one[0] for one in alone if one])


def test_a_factor_of_each_group_counts_for_that_group() -> None:
    def factor_to(top: float) -> Callable[[int], float]:
        return lambda step: top * min(1, step / 10)

    factors = [factor_to(top) for top in (1.0, 8.0) * 50]
    optimizer, scheduler = of_many_groups(lambda one: LambdaLR(one, factors), [0.1] * 100)
    assert peaks_of(scheduler, optimizer) == pytest.approx([0.1, 0.8] * 50)


def test_many_groups_alike_are_asked_as_one() -> None:
    class Counted:
        calls = 0

        def __call__(self, step: int) -> float:
            Counted.calls += 1
            return min(1.0, step / 10)

    optimizer, scheduler = of_many_groups(lambda one: LambdaLR(one, Counted()), [0.1, 0.2] * 100)
    Counted.calls = 0
    assert peaks_of(scheduler, optimizer) == pytest.approx([0.1, 0.2] * 100)
    alone, of_one = of_many_groups(lambda one: LambdaLR(one, Counted()), [0.1])
    calls, Counted.calls = Counted.calls, 0
    peaks_of(of_one, alone)
    assert calls <= 3 * Counted.calls
