"""Lion and SGDW in bfloat16: small updates and decays survive, and nothing else changes."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

import steadydecay as sd

DECAY, LR = 2.0**-12, 2.0**-9
STEPS = 3000

Build = Callable[..., torch.optim.Optimizer]
BUILDS: dict[str, Build] = {
    "lion": lambda params, **keys: sd.Lion(params, LR, weight_decay=DECAY / LR, **keys),
    "sgdw": lambda params, **keys: sd.SGDW(params, LR, 0.9, weight_decay=DECAY / LR, **keys),
}
over_optimizers = pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS.keys())


def final_norm(build: Build, dtype: torch.dtype, has_gradient: bool, **keys: Any) -> float:
    generator = torch.Generator().manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(512, generator=generator).to(dtype))
    optimizer = build([weight], **keys)
    for _ in range(STEPS):
        gradient = torch.randn(512, generator=generator) if has_gradient else torch.zeros(512)
        weight.grad = gradient.to(dtype)
        optimizer.step()
    return float(weight.detach().float().norm())


@over_optimizers
@pytest.mark.parametrize("has_gradient", [False, True])
def test_norm_of_bfloat16_follows_float32_within_1_percent(build: Build, has_gradient: bool) -> None:
    wide = final_norm(build, torch.float32, has_gradient)
    assert final_norm(build, torch.bfloat16, has_gradient) == pytest.approx(wide, rel=0.01)


@over_optimizers
def test_without_compensation_there_is_no_decay_at_all(build: Build) -> None:
    start = torch.randn(512, generator=torch.Generator().manual_seed(0)).bfloat16().float().norm().item()
    assert final_norm(build, torch.bfloat16, False, low_precision="none") == pytest.approx(start, rel=1e-6)
    assert final_norm(build, torch.bfloat16, False) == pytest.approx(start * (1 - DECAY) ** STEPS, rel=0.01)


@over_optimizers
@pytest.mark.parametrize("is_tensor", [False, True])
@pytest.mark.parametrize("fill", [1.0, math.nan])
def test_lr_zero_changes_no_bit(build: Build, is_tensor: bool, fill: float) -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0, -0.0, -3.0], dtype=torch.bfloat16))
    optimizer = build([weight])
    optimizer.param_groups[0]["lr"] = torch.tensor(0.0) if is_tensor else 0.0
    before = weight.detach().clone()
    weight.grad = torch.full_like(weight, fill)
    optimizer.step()
    assert torch.equal(weight.detach().view(torch.int16), before.view(torch.int16))


@over_optimizers
def test_compensation_is_state_of_narrow_weights_alone(build: Build) -> None:
    narrow, wide = torch.nn.Parameter(torch.ones(2).bfloat16()), torch.nn.Parameter(torch.ones(2))
    optimizer = build([narrow, wide])
    assert set(optimizer.state[narrow]) == {"momentum", "compensation"}
    assert set(optimizer.state[wide]) == {"momentum"}


@over_optimizers
def test_stochastic_rounding_is_refused(build: Build) -> None:
    with pytest.raises(ValueError, match="low_precision is 'stochastic'; legal are 'compensated', 'none'"):
        build([torch.nn.Parameter(torch.ones(2))], low_precision="stochastic")
