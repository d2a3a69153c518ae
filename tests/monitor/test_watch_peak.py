"""The norm against the steady state at the peak of the schedule, for schedules written in many ways."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, OneCycleLR, SequentialLR

import steadydecay as sd

pytestmark = pytest.mark.usefixtures("one_cpu_thread")

STEPS, PEAK = 24, 0.05
Make = Callable[[list[nn.Parameter]], torch.optim.Optimizer]
Schedule = Callable[[torch.optim.Optimizer], Any]

OPTIMIZERS: dict[str, Make] = {
    "adamw": lambda p: torch.optim.AdamW(p, PEAK, (0.8, 0.95), weight_decay=0.5),
    "muon": lambda p: torch.optim.Muon(p, PEAK, weight_decay=0.5, momentum=0.9),
    "scion": lambda p: sd.Scion(p, PEAK, weight_decay=0.5),
    "lion": lambda p: sd.Lion(p, PEAK, weight_decay=0.5),
    "scionc": lambda p: sd.ScionC(p, PEAK, weight_decay=0.5),
}


def one_cycle(optimizer: torch.optim.Optimizer) -> Any:
    """Its momentum is lowest at the peak, so the steady state there is that of both."""
    cycles = any(key in optimizer.param_groups[0] for key in ("momentum", "betas"))
    return OneCycleLR(optimizer, PEAK, total_steps=STEPS + 1, cycle_momentum=cycles, base_momentum=0.7)


def noam(optimizer: torch.optim.Optimizer) -> Any:
    """Its peak is a twentieth of the base lr, which is what `initial_lr` holds."""
    optimizer.param_groups[0]["lr"] = optimizer.param_groups[0]["initial_lr"] = 1.0
    return LambdaLR(optimizer, lambda step: PEAK * min((step + 1) / 6, math.sqrt(6 / (step + 1))))


SCHEDULES: dict[str, Schedule] = {
    "cosine to zero": lambda optimizer: CosineAnnealingLR(optimizer, STEPS - 1),
    "warm-up and cosine": lambda optimizer: SequentialLR(
        optimizer,
        [LambdaLR(optimizer, lambda step: (step + 1) / 6), CosineAnnealingLR(optimizer, STEPS - 6)],
        [5],
    ),
    "one cycle": one_cycle,
    "noam": noam,
}


def trained(optimizer: torch.optim.Optimizer, scheduler: Any, handle: Any, steps: int = STEPS) -> list[Any]:
    (weight,) = optimizer.param_groups[0]["params"]
    generator, found = torch.Generator().manual_seed(0), []
    for _ in range(steps):
        weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step()
        record = handle.record()
        found.append({**record["groups"]["group_0"], **record["layers"]["group_0.0"]})
        scheduler.step()
    return found


def weight_of() -> nn.Parameter:
    return nn.Parameter(torch.randn(12, 8, generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_after_the_peak_it_is_what_was_predicted_there(name: str, schedule: str) -> None:
    optimizer = OPTIMIZERS[name]([weight_of()])
    handle = sd.watch(optimizer)
    found = trained(optimizer, SCHEDULES[schedule](optimizer), handle)
    at_peak = max(found, key=lambda one: one["lr"])
    last = found[-1]
    assert last["lr"] < 0.6 * at_peak["lr"]
    assert last["predicted_norm_at_peak"] == pytest.approx(at_peak["predicted_norm"], rel=1e-6)
    assert last["norm_ratio_at_peak"] == pytest.approx(last["weight_norm"] / at_peak["predicted_norm"], rel=1e-6)


def test_the_reference_lr_is_the_peak_before_it_is_reached() -> None:
    optimizer = sd.ScionC([weight_of()], PEAK, weight_decay=0.5, decay="constant")
    scheduler = LambdaLR(optimizer, lambda step: (step + 1) / STEPS)
    found = trained(optimizer, scheduler, sd.watch(optimizer))
    assert found[0]["lr"] == pytest.approx(PEAK / STEPS)
    assert found[0]["predicted_norm_at_peak"] == pytest.approx(found[-1]["predicted_norm"], rel=1e-6)


@pytest.mark.parametrize("is_tensor", [False, True])
def test_an_lr_that_a_loop_writes(is_tensor: bool) -> None:
    weight = weight_of()
    lr_tensor = torch.tensor(1e-4)
    optimizer = torch.optim.AdamW([weight], lr_tensor if is_tensor else 1e-4, weight_decay=0.5)
    handle, (group,) = sd.watch(optimizer), optimizer.param_groups
    found = {}
    for lr in (0.01, 0.05, 0.02, 1e-6):
        if is_tensor:
            lr_tensor.fill_(lr)
        else:
            group["lr"] = lr
        weight.grad = torch.randn_like(weight)
        optimizer.step()
        found[lr] = handle.record()["layers"]["group_0.0"]
    for lr, peak in ((0.01, 0.01), (0.05, 0.05), (0.02, 0.05), (1e-6, 0.05)):
        expected = found[peak]["predicted_norm"]
        assert found[lr]["predicted_norm_at_peak"] == pytest.approx(expected, rel=1e-6)
    assert found[1e-6]["norm_ratio"] > 20 * found[1e-6]["norm_ratio_at_peak"]


def test_a_decay_that_a_loop_writes_counts_as_it_was_at_the_peak() -> None:
    weight = weight_of()
    optimizer = torch.optim.AdamW([weight], PEAK, weight_decay=0.5)
    handle, (group,), found = sd.watch(optimizer), optimizer.param_groups, []
    for share in (1.0, 0.1, 0.01):
        group["lr"], group["weight_decay"] = share * PEAK, share * 0.5
        weight.grad = torch.randn_like(weight)
        optimizer.step()
        found.append(handle.record()["layers"]["group_0.0"])
    assert {one["predicted_norm_at_peak"] for one in found} == {found[0]["predicted_norm"]}


@pytest.mark.parametrize("has_verb", [False, True])
def test_a_step_at_lr_zero_has_no_prediction_and_one_at_the_peak(has_verb: bool) -> None:
    optimizer = torch.optim.AdamW([weight_of()], PEAK, weight_decay=0.5)
    if has_verb:
        sd.correct_weight_decay(optimizer, where=0)
    found = trained(optimizer, LambdaLR(optimizer, lambda step: float(step < STEPS - 1)), sd.watch(optimizer))
    assert found[-1]["lr"] == 0
    assert not {"predicted_norm", "norm_ratio"} & set(found[-1])
    assert found[-1]["predicted_norm_at_peak"] == pytest.approx(found[0]["predicted_norm"], rel=1e-6)


def test_a_resumed_watch_remembers_the_peak() -> None:
    weight = weight_of()
    optimizer = torch.optim.AdamW([weight], PEAK, weight_decay=0.5)
    handle = sd.watch(optimizer)
    first = trained(optimizer, CosineAnnealingLR(optimizer, STEPS), handle, steps=STEPS // 2)[0]
    resumed = sd.watch(optimizer)
    resumed.load_state_dict(handle.state_dict())
    weight.grad = torch.randn_like(weight)
    optimizer.step()
    found = resumed.record()["layers"]["group_0.0"]
    assert found["predicted_norm_at_peak"] == pytest.approx(first["predicted_norm"], rel=1e-6)


def test_without_decay_there_is_no_norm_at_the_peak() -> None:
    optimizer = torch.optim.AdamW([weight_of()], PEAK, weight_decay=0.0)
    found = trained(optimizer, CosineAnnealingLR(optimizer, STEPS), sd.watch(optimizer))
    assert all("predicted_norm_at_peak" not in one and "norm_ratio_at_peak" not in one for one in found)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", ["adamw", "muon", "lion", "scionc"])
def test_a_watch_that_comes_late_knows_the_peak(name: str, schedule: str) -> None:
    found = []
    for steps_before in (0, STEPS * 2 // 3):
        torch.manual_seed(0)
        optimizer = OPTIMIZERS[name]([nn.Parameter(torch.randn(4, 3))])
        scheduler = SCHEDULES[schedule](optimizer)
        if steps_before:
            with sd.watch(optimizer) as unread:
                trained(optimizer, scheduler, unread, steps_before)
        found.append(trained(optimizer, scheduler, sd.watch(optimizer), STEPS - steps_before)[-1])
    early, late = (record["predicted_norm_at_peak"] for record in found)
    # The first of them meets the top of OneCycleLR between two steps.
    assert late == pytest.approx(early, rel=2e-3)


def test_a_watch_that_comes_late_without_a_scheduler_counts_from_now() -> None:
    optimizer = OPTIMIZERS["adamw"]([nn.Parameter(torch.randn(4, 3))])
    with sd.watch(optimizer) as unread:
        trained(optimizer, LambdaLR(optimizer, lambda step: 1.0), unread, 2)
    del optimizer.param_groups[0]["initial_lr"]
    optimizer.param_groups[0]["lr"] = PEAK / 2
    (now,) = trained(
        optimizer,
        CosineAnnealingLR(torch.optim.SGD(optimizer.param_groups[0]["params"], 1.0), 9),
        sd.watch(optimizer),
        1,
    )
    assert now["predicted_norm_at_peak"] == pytest.approx(now["predicted_norm"])
