"""Weights in bfloat16 and float16: decay and small updates survive, and nothing else changes."""

import copy
import io
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from steadydecay.optim.batches.parts import StepBatch
from steadydecay.optim.decoupled_step import move
from steadydecay.optim.scion import Scion, ScionC
from steadydecay.tensors.low_precision import (
    LOW_PRECISION_DTYPES,
    compensated,
    is_low_precision,
    new_state,
    stochastic,
    uniform_of_step,
)

# Far below half a unit of bfloat16; docs/low_precision.md has half of it over twice as many steps.
DECAY = 2.0**-11
STEPS = 5000
MODES = ("compensated", "stochastic", "none")


def random_weight(count: int, dtype: torch.dtype, scale: float = 1.0, seed: int = 0) -> Tensor:
    return (scale * torch.randn(count, generator=torch.Generator().manual_seed(seed))).to(dtype)


def same_bits(first: Tensor, second: Tensor) -> bool:
    """Also tells -0.0 from 0.0, and calls NaN equal to itself."""
    return first.detach().view(torch.int16).equal(second.detach().view(torch.int16))


# --- the pure functions ---


@pytest.mark.parametrize("dtype", LOW_PRECISION_DTYPES)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 100.0])
def test_weight_and_compensation_together_follow_float64(dtype: torch.dtype, scale: float) -> None:
    weight = random_weight(500, dtype, scale)
    compensation, exact = torch.zeros_like(weight), weight.double()
    epsilon = torch.finfo(dtype).eps
    for step in range(300):
        update = scale * 1e-3 * random_weight(500, torch.float32, seed=step)
        before = (weight.clone(), compensation.clone())
        new_weight, new_compensation = compensated(weight, compensation, update, DECAY)
        assert same_bits(weight, before[0])
        assert same_bits(compensation, before[1])
        assert new_weight.dtype == new_compensation.dtype == dtype
        weight, compensation = new_weight, new_compensation
        exact = (1 - DECAY) * exact - update.double()
        assert compensation.abs().max() <= weight.abs().max()
    together = weight.double() + epsilon * compensation.double()
    # Each step rounds what is kept to half a unit in the last place of a compensation of half a unit.
    assert (together - exact).abs().max() < math.sqrt(300) * 2 * epsilon**2 * scale
    assert (weight.double() - exact).abs().max() > 10 * (together - exact).abs().max()


@pytest.mark.parametrize("dtype", LOW_PRECISION_DTYPES)
def test_the_compensated_weight_is_the_nearest_one(dtype: torch.dtype) -> None:
    values = torch.cat([random_weight(2000, torch.float32, scale) for scale in (1e-2, 1.0, 1e3)])
    zero = torch.zeros(6000, dtype=dtype)
    weight, _ = compensated(zero, zero, -values, 0.0)
    assert same_bits(weight, values.to(dtype))


class WithoutRoundTrips(TorchDispatchMode):
    """Does as Inductor does, which computes in float32 and leaves out a rounding whose result it has at hand."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten._to_copy.default and kwargs.get("dtype") in LOW_PRECISION_DTYPES:
            kwargs = {**kwargs, "dtype": torch.float32}
        return func(*args, **kwargs)


@pytest.mark.parametrize("dtype", LOW_PRECISION_DTYPES)
def test_a_compiler_that_leaves_out_round_trips_changes_nothing(dtype: torch.dtype) -> None:
    weight, update = random_weight(500, dtype), random_weight(500, torch.float32, 1e-3, seed=1)
    eager = compensated(weight, torch.zeros_like(weight), update, DECAY)
    with WithoutRoundTrips():
        compiled = compensated(weight, torch.zeros_like(weight), update, DECAY)
    assert compiled[0].dtype == torch.float32
    assert all(same_bits(a, b.to(dtype)) for a, b in zip(eager, compiled, strict=True))
    assert eager[1].count_nonzero() > 400


@pytest.mark.parametrize("dtype", LOW_PRECISION_DTYPES)
def test_stochastic_rounding_goes_to_a_neighbour_and_is_right_in_the_mean(dtype: torch.dtype) -> None:
    weight = random_weight(20, dtype)
    exact = weight.double() * (1 - DECAY) - 1e-4
    draws = 4000
    update = torch.full((20,), 1e-4)
    rounded = torch.stack(
        [stochastic(weight, update, DECAY, uniform_of_step(weight, torch.tensor(step))) for step in range(draws)]
    ).double()
    unit = torch.finfo(dtype).eps * 2 ** exact.abs().log2().floor()
    assert ((rounded - exact).abs() <= unit * (1 + 1e-3)).all()
    assert (rounded.unique(dim=0).shape[0]) > 1
    # Standard deviation of one draw is at most half a unit.
    assert ((rounded.mean(0) - exact).abs() < 4.5 * 0.5 * unit / math.sqrt(draws) + 1e-3 * unit).all()


def test_numbers_below_the_normal_range_stay_finite() -> None:
    for dtype in LOW_PRECISION_DTYPES:
        weight = torch.tensor([0.0, -0.0, torch.finfo(dtype).smallest_normal, 1e-7], dtype=dtype)
        update = torch.full((4,), 1e-9)
        uniform = uniform_of_step(weight, torch.tensor(0))
        assert stochastic(weight, update, DECAY, uniform).isfinite().all()
        assert all(part.isfinite().all() for part in compensated(weight, torch.zeros_like(weight), update, DECAY))


def test_uniform_numbers_depend_on_the_step_alone() -> None:
    draws = torch.stack([uniform_of_step(torch.empty(50, 40), torch.tensor(step)) for step in range(50)])
    assert draws.dtype == torch.float32
    assert draws.min() >= 0
    assert draws.max() < 1
    assert draws.mean().item() == pytest.approx(0.5, abs=0.005)
    assert draws.var().item() == pytest.approx(1 / 12, abs=0.002)
    assert draws[3].equal(uniform_of_step(torch.ones(50, 40, dtype=torch.bfloat16), torch.tensor(3)))
    flat = draws.flatten(1) - 0.5
    neighbours = [(flat[1:] * flat[:-1]).mean(), (flat[:, 1:] * flat[:, :-1]).mean()]
    assert max(abs(float(product)) for product in neighbours) < 0.002


@settings(deadline=None)
@given(
    weight=st.sampled_from([0.0, -0.0, 1.0, -3.0, 1e-8, math.inf]),
    compensation=st.sampled_from([0.0, -0.0, 0.5, -0.5]),
    dtype=st.sampled_from(LOW_PRECISION_DTYPES),
    is_tensor=st.booleans(),
)
def test_no_update_and_no_decay_change_no_bit(
    weight: float, compensation: float, dtype: torch.dtype, is_tensor: bool
) -> None:
    before, remainder = torch.full((3,), weight, dtype=dtype), torch.full((3,), compensation, dtype=dtype)
    decay = torch.tensor(0.0) if is_tensor else 0.0
    after = compensated(before, remainder, torch.zeros(3), decay)
    assert same_bits(after[0], before)
    assert same_bits(after[1], remainder)
    uniform = torch.full((3,), 0.999)
    assert same_bits(stochastic(before, torch.zeros(3), decay, uniform), before)


def test_state_is_for_low_precision_alone() -> None:
    assert [is_low_precision(torch.ones(1, dtype=dtype)) for dtype in LOW_PRECISION_DTYPES] == [True, True]
    for dtype in (torch.float32, torch.float64):
        assert not is_low_precision(torch.ones(1, dtype=dtype))
        assert new_state(torch.ones(3, dtype=dtype), "compensated") == {}
    weight = torch.ones(3, dtype=torch.bfloat16)
    assert new_state(weight, "stochastic") == new_state(weight, "none") == {}
    assert new_state(weight, "compensated")["compensation"].equal(torch.zeros(3, dtype=torch.bfloat16))


def test_without_state_it_is_plain_arithmetic() -> None:
    for dtype in (torch.bfloat16, torch.float32, torch.float64):
        weight, update = random_weight(50, dtype), random_weight(50, dtype, seed=1)
        expected = weight.double() * (1 - 0.01) - update.double()
        bound = 2 * torch.finfo(dtype).eps * weight.double().abs().maximum(expected.abs())
        move(StepBatch([weight], [], [], [None], [None]), [update], torch.tensor(1.0), 0.01)
        assert ((weight.double() - expected).abs() <= bound).all()


# --- in Scion ---


def scion(dtype: torch.dtype, mode: str = "auto", optimizer_class: type[Scion] = Scion, **keys: Any) -> Scion:
    rms = math.sqrt(19 * 0.01**2 / (2 * DECAY))
    weight = nn.Parameter(random_weight(256, dtype, rms))
    return optimizer_class([weight], 0.01, norm="bias", weight_decay=DECAY / 0.01, low_precision=mode, **keys)


def weight_of(optimizer: torch.optim.Optimizer) -> Any:
    return optimizer.param_groups[0]["params"][0]


def train(optimizer: Scion, steps: range, has_updates: bool = True) -> None:
    weight = weight_of(optimizer)
    for step in steps:
        seed = torch.Generator().manual_seed(step)
        weight.grad = torch.zeros(256, dtype=weight.dtype)
        if has_updates:
            weight.grad += torch.randn(256, generator=seed)
        optimizer.step()


def norms(optimizer: Scion, is_cosine: bool, has_updates: bool) -> list[float]:
    """At ten times of the run, against the start."""
    start, found = weight_of(optimizer).detach().double().norm(), []
    for step in range(STEPS):
        cosine = 0.5 * (1 + math.cos(math.pi * step / STEPS))
        optimizer.param_groups[0]["lr"] = 0.01 * cosine if is_cosine else 0.01
        train(optimizer, range(step, step + 1), has_updates)
        if (step + 1) % (STEPS // 10) == 0:
            found.append((weight_of(optimizer).detach().double().norm() / start).item())
    return found


@pytest.mark.parametrize(("is_cosine", "has_updates"), [(False, False), (True, True)])
def test_bfloat16_follows_float32_within_1_percent_over_a_run(is_cosine: bool, has_updates: bool) -> None:
    reference = norms(scion(torch.float32), is_cosine, has_updates)
    followed = norms(scion(torch.bfloat16), is_cosine, has_updates)
    assert followed == pytest.approx(reference, rel=0.01)
    if not has_updates:
        assert reference[-1] < 0.3


def test_plain_bfloat16_does_not_decay_at_all() -> None:
    optimizer = scion(torch.bfloat16, "none")
    before = weight_of(optimizer).detach().clone()
    train(optimizer, range(100), has_updates=False)
    assert same_bits(weight_of(optimizer), before)


def test_float16_and_stochastic_bfloat16_decay_too() -> None:
    expected = norms(scion(torch.float32), False, False)[:3]
    for optimizer in (scion(torch.float16), scion(torch.bfloat16, "stochastic"), scion(torch.float16, "stochastic")):
        start = weight_of(optimizer).detach().double().norm()
        for target in expected:
            train(optimizer, range(STEPS // 10), has_updates=False)
            assert (weight_of(optimizer).detach().double().norm() / start).item() == pytest.approx(target, rel=0.01)


def test_small_updates_of_float16_do_not_underflow() -> None:
    weight = nn.Parameter(torch.zeros(4, 1000, dtype=torch.float16))
    optimizer = Scion([weight], lr=1e-5, momentum=0.0, norm="sign")
    for _ in range(200):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
    assert weight.detach().float().mean().item() == pytest.approx(-200 * 1e-5 / 1000, rel=0.02)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_wide_weights_move_by_plain_arithmetic(dtype: torch.dtype, mode: str) -> None:
    optimizer, plain = scion(dtype, mode), random_weight(256, dtype, math.sqrt(19 * 0.01**2 / (2 * DECAY)))
    average = torch.zeros_like(plain)
    for step in range(5):
        train(optimizer, range(step, step + 1))
        average = average * 0.9 + weight_of(optimizer).grad * (1 - 0.9)
        direction = average.to(torch.promote_types(dtype, torch.float32))
        largest = direction.abs().max()
        direction = direction / largest
        plain.mul_(1 - DECAY).sub_((direction / direction.norm() * 16.0) * 0.01)
    few_roundings = 20 * torch.finfo(dtype).eps
    torch.testing.assert_close(weight_of(optimizer).detach(), plain, rtol=few_roundings, atol=few_roundings)
    assert set(optimizer.state[weight_of(optimizer)]) == {"momentum"}
    assert "rounding_step" not in optimizer.param_groups[0]


@pytest.mark.parametrize("mode", MODES)
def test_a_wide_weight_beside_a_narrow_one_is_bitwise_as_alone(mode: str) -> None:
    ends = []
    for others in ([], [torch.bfloat16, torch.float16]):
        weights = [nn.Parameter(random_weight(256, dtype)) for dtype in (torch.float32, *others)]
        optimizer = Scion(weights, 0.01, norm="bias", weight_decay=0.1, low_precision=mode)
        for step in range(5):
            for weight in weights:
                weight.grad = random_weight(256, weight.dtype, seed=step)
            optimizer.step()
        ends.append(weights[0].detach())
    assert ends[0].equal(ends[1])


@pytest.mark.parametrize("memory_light", [False, True])
@pytest.mark.parametrize("is_tensor", [False, True])
@pytest.mark.parametrize("mode", ["auto", "stochastic", "none"])
@pytest.mark.parametrize("fill", [1.0, 0.0, math.nan, math.inf])
def test_lr_zero_changes_no_bit(mode: str, is_tensor: bool, fill: float, memory_light: bool) -> None:
    optimizer = scion(torch.bfloat16, mode, memory_light=memory_light)
    train(optimizer, range(20))
    weight = weight_of(optimizer)
    with torch.no_grad():
        weight[0] = -0.0
    before = weight.detach().clone()
    compensation = copy.deepcopy(optimizer.state.get(weight, {}).get("compensation"))
    optimizer.param_groups[0]["lr"] = torch.tensor(0.0) if is_tensor else 0.0
    for _ in range(3):
        weight.grad = torch.full_like(weight, fill)
        optimizer.step()
    assert same_bits(weight, before)
    if compensation is not None:
        assert compensation.count_nonzero() > 0
        assert same_bits(optimizer.state[weight]["compensation"], compensation)


@pytest.mark.parametrize(("memory_light", "mode"), [(False, "compensated"), (True, "stochastic")])
def test_what_auto_is(memory_light: bool, mode: str) -> None:
    for optimizer_class in (Scion, ScionC):
        pair = [scion(torch.bfloat16, name, optimizer_class, memory_light=memory_light) for name in ("auto", mode)]
        for optimizer in pair:
            train(optimizer, range(5))
            assert optimizer.param_groups[0]["low_precision"] == mode
        assert same_bits(*map(weight_of, pair))


def test_memory_light_keeps_no_state() -> None:
    optimizer = scion(torch.bfloat16, memory_light=True)
    train(optimizer, range(3))
    assert len(optimizer.state) == 0
    assert optimizer.param_groups[0]["rounding_step"].item() == 3


@pytest.mark.parametrize(("mode", "keys"), [("auto", {"momentum", "compensation"}), ("stochastic", {"momentum"})])
def test_state_exists_from_construction_with_the_keys_it_keeps(mode: str, keys: set[str]) -> None:
    optimizer = scion(torch.bfloat16, mode)
    assert set(optimizer.state_dict()["state"][0]) == keys
    train(optimizer, range(3))
    assert set(optimizer.state_dict()["state"][0]) == keys
    assert all(value.dtype == torch.bfloat16 for value in optimizer.state[weight_of(optimizer)].values())


def through_a_file(content: Any) -> Any:
    file = io.BytesIO()
    torch.save(content, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("dtype", LOW_PRECISION_DTYPES)
@pytest.mark.parametrize("mode", ["compensated", "stochastic"])
@pytest.mark.parametrize("built_with", ["none", "compensated", "stochastic"])
def test_resume_is_exact(mode: str, built_with: str, dtype: torch.dtype) -> None:
    optimizer = scion(dtype, mode)
    train(optimizer, range(30))
    saved = through_a_file([weight_of(optimizer).detach(), optimizer.state_dict()])
    resumed = scion(dtype, built_with)
    with torch.no_grad():
        weight_of(resumed).copy_(saved[0])
    resumed.load_state_dict(saved[1])
    for one in (optimizer, resumed):
        train(one, range(30, 60))
    assert same_bits(weight_of(resumed), weight_of(optimizer))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda content: pickle.loads(pickle.dumps(content))])
@pytest.mark.parametrize("memory_light", [False, True])
def test_a_copy_continues_exactly(copied: Callable[[Any], Any], memory_light: bool) -> None:
    optimizer = scion(torch.bfloat16, memory_light=memory_light)
    train(optimizer, range(30))
    twin = copied(optimizer)
    for one in (optimizer, twin):
        train(one, range(30, 60))
    assert same_bits(weight_of(twin), weight_of(optimizer))


@pytest.mark.parametrize("memory_light", [False, True])
def test_a_checkpoint_of_a_float32_run_loads(memory_light: bool) -> None:
    wide = scion(torch.float32, memory_light=memory_light)
    train(wide, range(3))
    state = wide.state_dict()
    del state["param_groups"][0]["low_precision"]
    for saved in (wide.state_dict(), state):
        narrow = scion(torch.bfloat16, memory_light=memory_light)
        narrow.load_state_dict(saved)
        train(narrow, range(3))
        assert narrow.param_groups[0]["low_precision"] == ("stochastic" if memory_light else "compensated")


def test_ranks_with_other_generators_round_alike() -> None:
    ends = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        optimizer = scion(torch.bfloat16, memory_light=True)
        train(optimizer, range(30))
        ends.append(weight_of(optimizer))
        assert torch.initial_seed() == seed
    assert same_bits(*ends)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"low_precision": "kahan"},
            r"low_precision is 'kahan'; it must be one of 'compensated', 'stochastic', 'none'",
        ),
        (
            {"low_precision": "compensated", "memory_light": True},
            r"memory_light=True and low_precision='compensated' .* use low_precision='stochastic' or 'auto'",
        ),
    ],
)
def test_errors(keys: dict[str, Any], message: str) -> None:
    optimizer = scion(torch.bfloat16)
    with pytest.raises(ValueError, match=message):
        optimizer.add_param_group({"params": [nn.Parameter(torch.ones(3))], **keys})
    assert len(optimizer.param_groups) == 1
    with pytest.raises(ValueError, match=message):
        Scion([nn.Parameter(torch.ones(3))], 0.1, **keys)
