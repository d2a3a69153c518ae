"""AdamC, Lion and SGDW in bfloat16: small updates and decays survive, and nothing else changes."""

import copy
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch

import steadydecay as sd

DECAY, LR = 2.0**-12, 2.0**-9
STEPS = 1500

Build = Callable[..., torch.optim.Optimizer]
BUILDS: dict[str, Build] = {
    "lion": lambda params, **keys: sd.Lion(params, LR, weight_decay=DECAY / LR, **keys),
    "adamc": lambda params, **keys: sd.AdamC(params, LR, weight_decay=DECAY / LR, **keys),
    "adamc_foreach": lambda params, **keys: sd.AdamC(params, LR, weight_decay=DECAY / LR, foreach=True, **keys),
    "adamc_fused": lambda params, **keys: sd.AdamC(params, LR, weight_decay=DECAY / LR, fused=True, **keys),
    "sgdw": lambda params, **keys: sd.SGDW(params, LR, 0.9, weight_decay=DECAY / LR, **keys),
}
over_optimizers = pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS.keys())


@cache
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


# torch's foreach AdamW takes no tensor lr on a CPU.
WITH_TENSOR_LR = [(name, is_tensor) for name in BUILDS for is_tensor in (False, True)]
WITH_TENSOR_LR.remove(("adamc_foreach", True))


@pytest.mark.parametrize(("name", "is_tensor"), WITH_TENSOR_LR)
@pytest.mark.parametrize("fill", [1.0, math.nan])
def test_lr_zero_changes_no_bit(name: str, is_tensor: bool, fill: float) -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0, -0.0, -3.0], dtype=torch.bfloat16))
    optimizer = BUILDS[name]([weight])
    optimizer.param_groups[0]["lr"] = torch.tensor(0.0) if is_tensor else 0.0
    before = weight.detach().clone()
    weight.grad = torch.full_like(weight, fill)
    optimizer.step()
    assert torch.equal(weight.detach().view(torch.int16), before.view(torch.int16))


@over_optimizers
def test_compensation_is_state_of_narrow_weights_alone(build: Build) -> None:
    narrow, wide = torch.nn.Parameter(torch.ones(2).bfloat16()), torch.nn.Parameter(torch.ones(2))
    optimizer = build([narrow, wide])
    assert set(optimizer.state[narrow]) == {*optimizer.state[wide], "compensation"}
    assert "compensation" not in optimizer.state[wide]


@over_optimizers
def test_stochastic_rounding_is_refused(build: Build) -> None:
    with pytest.raises(ValueError, match="low_precision is 'stochastic'; it must be 'compensated' or 'none'"):
        build([torch.nn.Parameter(torch.ones(2))], low_precision="stochastic")


@pytest.mark.parametrize("name", ["adamc", "adamc_foreach", "adamc_fused"])
def test_wide_adamc_keeps_its_bits_at_lr_zero_too(name: str) -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0, -0.0, -3.0]))
    optimizer = BUILDS[name]([weight])
    optimizer.param_groups[0]["lr"] = 0.0
    before = weight.detach().clone()
    weight.grad = torch.full_like(weight, math.nan)
    optimizer.step()
    assert torch.equal(weight.detach().view(torch.int32), before.view(torch.int32))
    assert optimizer.state[weight]["step"] == 1
    assert list(optimizer.state) == [weight]


@over_optimizers
def test_resume_is_exact(build: Build) -> None:
    def trained(optimizer: torch.optim.Optimizer, weight: torch.nn.Parameter, steps: range) -> None:
        for step in steps:
            weight.grad = torch.randn(8, generator=torch.Generator().manual_seed(step)).bfloat16()
            optimizer.step()

    weight = torch.nn.Parameter(torch.ones(8).bfloat16())
    optimizer = build([weight])
    trained(optimizer, weight, range(20))
    saved, weight_then = copy.deepcopy(optimizer.state_dict()), weight.detach().clone()
    trained(optimizer, weight, range(20, 40))
    resumed_weight = torch.nn.Parameter(weight_then)
    resumed = build([resumed_weight])
    resumed.load_state_dict(saved)
    trained(resumed, resumed_weight, range(20, 40))
    assert torch.equal(resumed_weight, weight)
    compensation = optimizer.state[weight]["compensation"]
    assert torch.equal(resumed.state[resumed_weight]["compensation"], compensation)
    assert compensation.any()
