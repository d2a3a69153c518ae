"""Under Accelerate and with accumulation the correction is the same; a step that a scaler skips changes nothing."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

import steadydecay as sd

LR, WEIGHT_DECAY, STEPS = 0.1, 0.5, 6


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))


def adamw(model: nn.Module, **changes: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(sd.param_groups(model, "adamw", lr=LR, weight_decay=WEIGHT_DECAY), **changes)


def batch(step: int) -> Tensor:
    return torch.randn(4, 8, generator=torch.Generator().manual_seed(step))


def train_plainly(accumulation: int = 1) -> list[Tensor]:
    model = network()
    optimizer = adamw(model)
    sd.correct_weight_decay(optimizer)
    scheduler = CosineAnnealingLR(optimizer, STEPS)
    for step in range(STEPS * accumulation):
        (model(batch(step)).square().mean() / accumulation).backward()
        if (step + 1) % accumulation == 0:
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
    return list(model.parameters())


@pytest.mark.parametrize("accumulation", [1, 3])
@pytest.mark.parametrize("attach_first", [True, False], ids=["before prepare", "after prepare"])
def test_under_accelerate_the_weights_are_those_of_a_plain_loop(attach_first: bool, accumulation: int) -> None:
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=accumulation)
    model = network()
    optimizer = adamw(model)
    if attach_first:
        sd.correct_weight_decay(optimizer)
    model, optimizer = accelerator.prepare(model, optimizer)
    scheduler = accelerator.prepare(CosineAnnealingLR(optimizer, STEPS))
    if not attach_first:
        sd.correct_weight_decay(optimizer)
    for step in range(STEPS * accumulation):
        with accelerator.accumulate(model):
            accelerator.backward(model(batch(step)).square().mean())
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
    assert optimizer.param_groups[0]["weight_decay"] < WEIGHT_DECAY / 2
    for actual, expected in zip(model.parameters(), train_plainly(accumulation), strict=True):
        assert torch.equal(actual, expected)


def test_save_state_and_load_state_resume_exactly(tmp_path: Any) -> None:
    def prepared(lr: float, weight_decay: float, **kwargs: Any) -> tuple[Any, Any, Any, Any]:
        accelerator = Accelerator(cpu=True)
        model = network()
        optimizer = torch.optim.AdamW(sd.param_groups(model, "adamw", lr=lr, weight_decay=weight_decay))
        model, optimizer = accelerator.prepare(model, optimizer)
        scheduler = accelerator.prepare(CosineAnnealingLR(optimizer, STEPS))
        sd.correct_weight_decay(optimizer, **kwargs)
        return accelerator, model, optimizer, scheduler

    def steps(model: Any, optimizer: Any, scheduler: Any, which: range) -> None:
        for step in which:
            model(batch(step)).square().mean().backward()
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()

    accelerator, model, optimizer, scheduler = prepared(LR, WEIGHT_DECAY, reference_lr=2 * LR)
    steps(model, optimizer, scheduler, range(3))
    accelerator.save_state(str(tmp_path))
    steps(model, optimizer, scheduler, range(3, STEPS))
    accelerator, resumed, optimizer, scheduler = prepared(0.7, 0.01)
    accelerator.load_state(str(tmp_path))
    steps(resumed, optimizer, scheduler, range(3, STEPS))
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), model.parameters(), strict=True))


def snapshot(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], Any, Any]:
    """Weights, optimizer state and groups."""
    state_dict = optimizer.state_dict()
    return copy.deepcopy((model.state_dict(), state_dict["state"], state_dict["param_groups"]))


def assert_same(actual: Any, expected: Any) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def corrected(build: Callable[[nn.Module], torch.optim.Optimizer], model: nn.Module) -> torch.optim.Optimizer:
    optimizer = build(model)
    sd.correct_weight_decay(optimizer)
    return optimizer


OPTIMIZERS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "AdamW": lambda model: corrected(adamw, model),
    # It is stepped even where the scaler finds an infinity, and passes over it in its kernel.
    "fused AdamW": lambda model: corrected(lambda m: adamw(m, fused=True), model),
    "AdamC": lambda model: sd.AdamC(sd.param_groups(model, "adamc", lr=LR, weight_decay=WEIGHT_DECAY)),
    "fused AdamC": lambda model: sd.AdamC(
        sd.param_groups(model, "adamc", lr=LR, weight_decay=WEIGHT_DECAY), fused=True
    ),
    "ScionC": lambda model: sd.ScionC(sd.param_groups(model, "scionc", lr=LR, weight_decay=WEIGHT_DECAY), lr=LR),
    "Lion": lambda model: sd.Lion(sd.param_groups(model, "lion", lr=LR, weight_decay=WEIGHT_DECAY), decay="corrected"),
    "SGDW": lambda model: sd.SGDW(sd.param_groups(model, "sgdw", lr=LR, weight_decay=WEIGHT_DECAY), decay="corrected"),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_that_the_scaler_skips_changes_nothing(name: str) -> None:
    model = network()
    optimizer = OPTIMIZERS[name](model)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scheduler = CosineAnnealingLR(optimizer, STEPS)

    def step(number: int, poison: float = 1.0) -> None:
        optimizer.zero_grad()
        scaler.scale(model(batch(number)).square().mean() * poison).backward()
        scaler.step(optimizer)
        scaler.update()

    for number in range(3):
        step(number)
        scheduler.step()
    step(3)
    before = snapshot(model, optimizer)
    step(4, poison=float("inf"))
    assert scaler.get_scale() == 512.0, "the scaler has seen the infinity"
    weights, state, groups = snapshot(model, optimizer)
    assert_same(weights, before[0])
    assert_same(state, before[1])
    assert groups == before[2]
    step(5)
    assert not torch.equal(model.state_dict()["0.weight"], weights["0.weight"]), "and the next one is taken"


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_skipped_first_step_fixes_no_reference(name: str) -> None:
    """The same weights as a run that never saw the infinity."""
    skipping, smooth = network(), network()
    for model, numbers in ((skipping, (-1, 0, 1)), (smooth, (0, 1))):
        optimizer = OPTIMIZERS[name](model)
        # The scale that is left after the infinity, a power of two in both.
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0 if model is skipping else 512.0)
        scheduler = CosineAnnealingLR(optimizer, STEPS)
        for number in numbers:
            optimizer.zero_grad()
            poison = float("inf") if number < 0 else 1.0
            scaler.scale(model(batch(number + 1)).square().mean() * poison).backward()
            scaler.step(optimizer)
            scaler.update()
            if number >= 0:
                scheduler.step()
    assert_same(skipping.state_dict(), smooth.state_dict())
