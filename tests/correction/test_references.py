"""The decay at the peak of a schedule is the one that was given, or one warning says what to write."""

import sys
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    CosineAnnealingLR,
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    OneCycleLR,
    SequentialLR,
)

import steadydecay as sd
from steadydecay.correction.references import PATIENCE
from steadydecay.theory import Reference, exponential_average, weight_decay

ABOVE = r"uses an lr above its reference_lr, so that it decays more"
BELOW = r"has stayed below 0\.1 times its reference_lr for 1000 steps"


def parameters() -> list[Any]:
    return [nn.Parameter(torch.ones(4, 3))]


def correct(optimizer: Any, rule: str = "corrected", **arguments: Any) -> Any:
    return sd.correct_weight_decay(optimizer, rule, where=lambda group: True, **arguments)


def adamw(lr: Any = 0.1, weight_decay: float = 0.5, **keys: Any) -> torch.optim.AdamW:
    return torch.optim.AdamW([{"params": parameters(), **keys}], lr=lr, weight_decay=weight_decay)


def step(optimizer: Optimizer) -> float:
    """What the step takes from each weight, η; the gradients are zero."""
    (parameter,) = optimizer.param_groups[0]["params"]
    before, parameter.grad = parameter.detach().double(), torch.zeros_like(parameter)
    optimizer.step()
    return 1 - float((parameter.detach().double() / before).mean())


def at_peak(optimizer: Optimizer, scheduler: Any, steps: int) -> tuple[float, float]:
    """The largest lr of a run, and η there."""
    found = {}
    for count in range(steps):
        lr = float(optimizer.param_groups[0]["lr"])
        found[lr] = step(optimizer)
        scheduler.step() if not callable(scheduler) else scheduler(count)
    return max(found.items())


def by_hand(optimizer: Optimizer, lrs: Any) -> None:
    for lr in lrs:
        for group in optimizer.param_groups:
            group["lr"] = lr
        step(optimizer)


@contextmanager
def no_warning() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def noam(at: int, width: int = 512, warmup: int = 40) -> float:
    at = max(at, 1)
    return width**-0.5 * min(at**-0.5, at * warmup**-1.5)


def triangle(at: int) -> float:
    return min((at + 1) / 20, max(0.0, 1 - (at - 19) / 60))


def timm_cosine(optimizer: Optimizer) -> Any:
    """A scheduler that is none of torch's; imported without timm's models, which need torchvision."""
    spec = find_spec("timm")
    assert spec is not None and spec.origin is not None
    package = types.ModuleType("timm_schedulers")
    package.__path__ = [str(Path(spec.origin).parent / "scheduler")]
    sys.modules.setdefault("timm_schedulers", package)
    scheduler = import_module("timm_schedulers.cosine_lr").CosineLRScheduler
    return scheduler(optimizer, t_initial=40, warmup_t=10, warmup_lr_init=1e-5, warmup_prefix=True)


# --- schedules that can be asked ---

Schedule = Callable[[Optimizer], Any]
# By name: the lr of the constructor, the schedule, and its peak; all of them within 60 steps.
ASKED: dict[str, tuple[float, Schedule, float]] = {
    "Noam": (1.0, lambda optimizer: LambdaLR(optimizer, noam), noam(40)),
    "warm-up to 8 times": (0.01, lambda optimizer: LambdaLR(optimizer, lambda at: 8 * triangle(at)), 0.08),
    "a thousandth": (10.0, lambda optimizer: LambdaLR(optimizer, lambda at: 1e-3 * triangle(at)), 0.01),
    "triangles": (
        0.1,
        lambda optimizer: CyclicLR(optimizer, 0.001, 0.02, step_size_up=15, cycle_momentum=False),
        0.02,
    ),
    "one cycle": (0.001, lambda optimizer: OneCycleLR(optimizer, max_lr=0.02, total_steps=61, pct_start=21 / 61), 0.02),
    "two phases": (
        0.01,
        lambda optimizer: SequentialLR(
            optimizer,
            [LambdaLR(optimizer, lambda at: 5 * (at + 1) / 20), LambdaLR(optimizer, lambda at: 5 * 0.9**at)],
            [20],
        ),
        0.05,
    ),
    "a chain": (
        0.01,
        lambda optimizer: ChainedScheduler(
            [LambdaLR(optimizer, lambda at: 5.0), LinearLR(optimizer, 1.0, 1.0), ExponentialLR(optimizer, 1.0)]
        ),
        0.05,
    ),
}
BUILDS: dict[str, Callable[[float], Optimizer]] = {
    "AdamW": lambda lr: adamw(lr),
    "AdamC": lambda lr: sd.AdamC(parameters(), lr=lr, weight_decay=0.5 / max(lr, 1)),
    "ScionC": lambda lr: sd.ScionC(parameters(), lr=lr, weight_decay=0.5 / max(lr, 1)),
    "SGDW": lambda lr: sd.SGDW(parameters(), lr=lr, weight_decay=0.5 / max(lr, 1), decay="corrected"),
}
ORDERS = ("before", "after")


# Each schedule in both orders under the verb and under an optimizer of ours; the others of ours share what asks.
AT_PEAK = [(name, schedule, order) for schedule in ASKED for name in ("AdamW", "ScionC") for order in ORDERS]
AT_PEAK += [
    (name, schedule, order) for schedule in ("Noam", "one cycle") for name in ("AdamC", "SGDW") for order in ORDERS
]


@pytest.mark.parametrize(("name", "schedule_name", "order"), AT_PEAK)
def test_the_decay_at_the_peak_is_the_one_that_was_given(name: str, schedule_name: str, order: str) -> None:
    lr, schedule, peak = ASKED[schedule_name]
    # An lr of 1 and more with this decay would be illegal where it is stepped at.
    given = 0.5 / max(lr, 1)
    optimizer = BUILDS[name](lr) if name != "AdamW" else adamw(lr, given)
    scheduler = schedule(optimizer) if order == "before" else None
    if name == "AdamW":
        correct(optimizer)
    with no_warning():
        found = at_peak(optimizer, scheduler or schedule(optimizer), 60)
    assert found == (pytest.approx(peak), pytest.approx(peak * given, rel=1e-3, abs=1e-7))
    assert optimizer.param_groups[0]["reference_lr"] == pytest.approx(peak)


def test_under_one_cycle_the_reference_of_our_own_is_the_peak_with_its_momentum() -> None:
    """The issue: 0.259 of the weight a step where 0.02 was meant."""
    optimizer = sd.ScionC(parameters(), lr=0.001, weight_decay=1.0)
    scheduler = OneCycleLR(optimizer, max_lr=0.02, total_steps=100)
    lr, decay = at_peak(optimizer, scheduler, 100)
    assert (lr, decay) == (pytest.approx(0.02, rel=1e-3), pytest.approx(0.02, rel=1e-3))
    assert optimizer.param_groups[0]["reference_momentum"] == 0.85


def test_cyclic_momentum_counts_as_it_is_at_the_peak() -> None:
    optimizer = torch.optim.Muon(parameters(), lr=0.001, weight_decay=0.5, momentum=0.9, nesterov=False)
    scheduler = CyclicLR(optimizer, 0.001, 0.02, step_size_up=10, base_momentum=0.8, max_momentum=0.95)
    correct(optimizer)
    step(optimizer)
    assert scheduler.last_epoch == 0
    reference = Reference(0.02, 0.5, exponential_average(0.8))
    expected = weight_decay(0.001, exponential_average(0.95), False, reference, "corrected")
    assert optimizer.param_groups[0]["weight_decay"] == pytest.approx(expected)


def test_each_group_is_asked_for_its_own_peak() -> None:
    groups = [{"params": parameters(), "lr": 0.1}, {"params": parameters(), "lr": 0.2}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.5)
    scheduler = LambdaLR(optimizer, [lambda at: 1.0, lambda at: 4 * triangle(at)])
    correct(optimizer)
    step(optimizer)
    assert [group["reference_lr"] for group in optimizer.param_groups] == [0.1, pytest.approx(0.8)]
    assert scheduler.last_epoch == 0


def test_a_tensor_lr_is_asked_for_its_peak() -> None:
    optimizer = adamw(torch.tensor(1.0))
    scheduler = LambdaLR(optimizer, noam)
    correct(optimizer)
    with no_warning():
        lr, decay = at_peak(optimizer, scheduler, 60)
    assert decay == pytest.approx(0.5 * lr, rel=2e-2)
    assert optimizer.param_groups[0]["reference_lr"] == pytest.approx(noam(40))


def test_timms_schedules_peak_at_the_lr_of_the_constructor() -> None:
    for order in ("before", "after"):
        optimizer = adamw(0.02)
        scheduler = timm_cosine(optimizer) if order == "before" else None
        correct(optimizer)
        scheduler = scheduler or timm_cosine(optimizer)
        with no_warning():
            assert at_peak(optimizer, lambda at, to=scheduler: to.step(at + 1), 40) == (
                0.02,
                pytest.approx(0.01, rel=1e-3),
            )


def test_a_run_that_resumes_keeps_the_peak_of_its_schedule() -> None:
    optimizer = adamw(1.0)
    scheduler = LambdaLR(optimizer, noam)
    correct(optimizer)
    for _ in range(60):
        step(optimizer)
        scheduler.step()
    for order in ("attached, then loaded", "loaded, then attached"):
        resumed = adamw(7.0, 0.01)
        LambdaLR(resumed, lambda at: 0.5)
        if order == "attached, then loaded":
            correct(resumed)
        resumed.load_state_dict(optimizer.state_dict())
        if order == "loaded, then attached":
            correct(resumed)
        with no_warning():
            step(resumed)
        assert resumed.param_groups[0]["reference_lr"] == optimizer.param_groups[0]["reference_lr"]


# --- loops that write the lr: one warning ---


@pytest.mark.parametrize("rule", ["corrected", "exact", ("corrected", "cautious")])
@pytest.mark.parametrize("written", ["by the constructor", "before attaching"])
def test_an_lr_above_its_reference_is_said_once(written: str, rule: Any) -> None:
    """The issue: weight_decay 20 where 1 was meant."""
    optimizer = adamw(0.001 if written == "by the constructor" else 0.02, 0.1)
    optimizer.param_groups[0]["lr"] = 0.001
    correct(optimizer, rule)
    message = (
        ABOVE + r".* Write steadydecay\.correct_weight_decay\(optimizer, reference_lr=<the peak of its schedule>\)"
    )
    with pytest.warns(UserWarning, match=rf"group 0 \(lr 0\.002, reference_lr 0\.001\) of AdamW {message}") as caught:
        by_hand(optimizer, [0.001 * at for at in range(1, 20)])
    assert len(caught) == 1


@pytest.mark.parametrize("name", ["AdamC", "ScionC", "SGDW"])
def test_our_own_say_it_too(name: str) -> None:
    optimizer = BUILDS[name](0.001)
    with pytest.warns(UserWarning, match=rf"{name} {ABOVE}.* Construct {name} with lr=<the peak") as caught:
        by_hand(optimizer, [0.001, 0.01, 0.02])
    assert len(caught) == 1


def test_every_group_that_is_above_is_named() -> None:
    groups = [{"params": parameters(), "lr": lr} for lr in (0.1, 0.001, 0.002)]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.1)
    correct(optimizer)
    with pytest.warns(UserWarning, match=r"group 1 \(lr 0\.05, .*, group 2 \(lr 0\.05, .*") as caught:
        by_hand(optimizer, [0.05])
    assert "group 0" not in str(caught[0].message)


@pytest.mark.parametrize(
    ("keys", "arguments"),
    [
        ({}, {"reference_lr": 0.001}),
        ({"reference_lr": 0.001}, {}),
        ({}, {"rule": "constant"}),
        ({"weight_decay": 0.0}, {}),
    ],
    ids=["said by the argument", "said by the group", "constant", "no decay"],
)
def test_what_was_said_or_does_not_matter_is_not_warned_of(keys: dict[str, Any], arguments: dict[str, Any]) -> None:
    optimizer = adamw(0.001, **keys)
    correct(optimizer, **arguments)
    with no_warning():
        by_hand(optimizer, [0.001, 0.002])


@pytest.mark.parametrize("name", ["AdamC", "ScionC"])
def test_of_our_own_a_reference_that_was_said_stays(name: str) -> None:
    groups = [{"params": parameters(), "reference_lr": 0.002}]
    optimizer = getattr(sd, name)(groups, lr=0.001, weight_decay=0.5)
    LambdaLR(optimizer, lambda at: 8.0)
    with no_warning():
        by_hand(optimizer, [0.001, 0.02])
    assert optimizer.param_groups[0]["reference_lr"] == 0.002


def test_the_verb_says_the_reference_of_our_own() -> None:
    optimizer = sd.Scion(parameters(), lr=0.001, weight_decay=0.5)
    scheduler = LambdaLR(optimizer, lambda at: 8.0)
    before = dict(optimizer.param_groups[0])
    handle = correct(optimizer, reference_lr=0.002)
    with no_warning():
        by_hand(optimizer, [0.02])
    assert optimizer.param_groups[0]["reference_lr"] == 0.002
    handle.remove()
    assert {**optimizer.param_groups[0], "lr": before["lr"]} == before
    assert scheduler.last_epoch == 0


@pytest.mark.parametrize("name", ["AdamW", "ScionC"])
def test_an_lr_that_stays_far_below_is_said_once(name: str) -> None:
    """A hand-written Noam on a base lr of 1."""
    optimizer = BUILDS[name](1.0)
    if name == "AdamW":
        correct(optimizer)
    with pytest.warns(UserWarning, match=BELOW) as caught:
        by_hand(optimizer, [noam(at) for at in range(PATIENCE + 50)])
    assert len(caught) == 1


def test_a_warm_up_a_known_schedule_and_a_resumed_run_are_not_far_below() -> None:
    by_loop, by_scheduler = adamw(), adamw()
    scheduler = CosineAnnealingLR(by_scheduler, 60)
    correct(by_loop)
    correct(by_scheduler)
    with no_warning():
        by_hand(by_loop, [0.1 * (at + 1) / 5000 for at in range(PATIENCE + 50)])
        for _ in range(55):
            step(by_scheduler)
            scheduler.step()
        lr = by_scheduler.param_groups[0]["lr"]
        by_hand(by_scheduler, [lr] * PATIENCE)
        resumed = adamw()
        correct(resumed)
        step(resumed)
        resumed.load_state_dict(by_scheduler.state_dict())
        by_hand(resumed, [lr] * PATIENCE)


def test_a_group_that_rests_is_not_counted() -> None:
    groups = [{"params": parameters(), "lr": 0.1}, {"params": parameters(), "lr": 0.1}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.5)
    correct(optimizer)
    with no_warning():
        for _ in range(PATIENCE + 10):
            optimizer.param_groups[1]["lr"] = 0.0
            step(optimizer)


# --- loads ---


def stepped(optimizer: Optimizer, *lrs: float) -> Any:
    by_hand(optimizer, lrs)
    return optimizer.state_dict()


@pytest.mark.parametrize("build", [lambda: adamw(), lambda: sd.AdamC(parameters(), lr=0.1, weight_decay=0.5)])
def test_the_lr_of_an_uncorrected_checkpoint_is_no_reference_below_the_one_that_was_there(build: Any) -> None:
    """The issue: its lr, one of the middle of a schedule, became the reference."""
    state = stepped(adamw(), 0.1, 0.025)
    optimizer = build()
    if type(optimizer) is torch.optim.AdamW:
        correct(optimizer)
    with pytest.warns(UserWarning, match=r"without a correction was loaded, .*so far, 0\.1\. .* reference_lr"):
        optimizer.load_state_dict(state)
    assert step(optimizer) == pytest.approx(0.5 * 0.025**2 / 0.1, rel=1e-3)


@pytest.mark.parametrize("key", ["initial_lr", "max_lr"])
def test_what_a_scheduler_left_in_the_checkpoint_is_the_reference_without_a_word(key: str) -> None:
    source = adamw(0.025)
    state = stepped(source, 0.025)
    state["param_groups"][0][key] = 0.05
    optimizer = adamw(0.1)
    correct(optimizer)
    with no_warning():
        optimizer.load_state_dict(state)
        step(optimizer)
    assert optimizer.param_groups[0]["reference_lr"] == 0.05


def test_a_higher_lr_of_the_checkpoint_is_the_reference() -> None:
    optimizer = adamw(0.001)
    correct(optimizer)
    with pytest.warns(UserWarning, match=r"the largest lr seen so far, 0\.05\."):
        optimizer.load_state_dict(stepped(adamw(), 0.05))
    step(optimizer)
    assert optimizer.param_groups[0]["reference_lr"] == 0.05


def test_a_constant_lr_is_loaded_without_a_word() -> None:
    state = stepped(adamw(), 0.1)
    optimizer = adamw()
    correct(optimizer)
    with no_warning():
        optimizer.load_state_dict(state)
        step(optimizer)


def test_a_said_reference_holds_for_an_uncorrected_checkpoint() -> None:
    optimizer = adamw()
    correct(optimizer, reference_lr=0.2)
    with no_warning():
        optimizer.load_state_dict(stepped(adamw(), 0.1, 0.025))
        step(optimizer)
    assert optimizer.param_groups[0]["reference_lr"] == 0.2


@pytest.mark.parametrize("own", [False, True])
def test_a_corrected_checkpoint_with_another_peak_wins_and_says_so(own: bool) -> None:
    """The issue: said only where the checkpoint was loaded first."""

    def build() -> Any:
        return sd.Scion(parameters(), lr=0.1, weight_decay=0.5) if own else adamw()

    source = build()
    correct(source, reference_lr=0.2)
    state = stepped(source, 0.1)
    optimizer = build()
    correct(optimizer, reference_lr=0.1)
    with pytest.warns(UserWarning, match=r"or a copy, with .* reference_lr \{0\.2\}") as caught:
        optimizer.load_state_dict(state)
        step(optimizer)
        step(optimizer)
    assert len(caught) == 1
    assert optimizer.param_groups[0]["reference_lr"] == 0.2


def test_another_rule_in_the_checkpoint_is_said_as_well() -> None:
    source = adamw()
    correct(source, "exact")
    state = stepped(source, 0.1)
    optimizer = adamw()
    correct(optimizer)
    with pytest.warns(UserWarning, match=r"or a copy, with rule \{'exact'\}"):
        optimizer.load_state_dict(state)


def test_a_corrected_run_that_is_resumed_at_a_higher_lr_says_so() -> None:
    source = adamw()
    correct(source)
    optimizer = adamw()
    correct(optimizer)
    optimizer.load_state_dict(stepped(source, 0.1))
    with pytest.warns(UserWarning, match=ABOVE):
        by_hand(optimizer, [0.3])


def test_attaching_after_steps_without_a_scheduler_says_what_it_takes_for_the_peak() -> None:
    optimizer = adamw()
    by_hand(optimizer, [0.1, 0.05])
    with pytest.warns(
        UserWarning, match=r"steps were taken before .*so far, 0\.05\. .* pass .*reference_lr=<that peak>"
    ):
        handle = correct(optimizer)
    handle.remove()
    with no_warning():
        correct(optimizer, reference_lr=0.1)


def test_with_a_scheduler_attaching_after_steps_is_sure() -> None:
    optimizer = adamw(1.0)
    scheduler = LambdaLR(optimizer, noam)
    for _ in range(50):
        step(optimizer)
        scheduler.step()
    with no_warning():
        correct(optimizer)
        step(optimizer)
    assert optimizer.param_groups[0]["reference_lr"] == pytest.approx(noam(40))


def test_the_reference_travels_through_a_state_dict() -> None:
    optimizer = sd.ScionC(parameters(), lr=0.001, weight_decay=0.5)
    scheduler = LambdaLR(optimizer, lambda at: 8.0)
    step(optimizer)
    resumed = sd.ScionC(parameters(), lr=0.5, weight_decay=0.1)
    resumed.load_state_dict(optimizer.state_dict())
    with no_warning():
        step(resumed)
    assert resumed.param_groups[0]["reference_lr"] == optimizer.param_groups[0]["reference_lr"] == 0.008
    assert scheduler.last_epoch == 0
