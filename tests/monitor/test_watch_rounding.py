"""Measures of an update are right where they are given, and left out where rounding has made them."""

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

import steadydecay as sd

pytestmark = pytest.mark.usefixtures("one_cpu_thread")

UPDATE_MEASURES = {
    "update_norm",
    "update_cosine",
    "parallel_share",
    "perpendicular_share",
    "rotation",
    "predicted_norm_measured",
}
SHAPE = (48, 40)
LRS = [10.0**-power for power in range(1, 13)]
Make = Callable[[list[nn.Parameter], float], torch.optim.Optimizer]
OPTIMIZERS: dict[str, Make] = {
    "adamw": lambda p, lr: torch.optim.AdamW(p, lr, weight_decay=0.1),
    "adamc": lambda p, lr: sd.AdamC(p, lr, weight_decay=0.1, decay="constant"),
    "scion": lambda p, lr: sd.Scion(p, lr, weight_decay=0.1, norm="sign"),
    "lion": lambda p, lr: sd.Lion(p, lr, weight_decay=0.1),
    "sgdw": lambda p, lr: sd.SGDW(p, lr, 0.9, weight_decay=0.1),
    "undecayed": lambda p, lr: sd.SGDW(p, lr, 0.9),
}
# Of those that keep what rounding takes off a weight.
COMPENSATED = ("lion", "sgdw")


def start(scale: float) -> Tensor:
    return scale * torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))


def measured_and_true(name: str, lr: float, scale: float, dtype: torch.dtype) -> list[dict[str, float]]:
    """Measures of the second step, and of a twin's in float64 from the same weights and gradients."""
    results = []
    for kept in (dtype, torch.float64):
        weight = nn.Parameter(start(scale).to(dtype).to(kept))
        optimizer = OPTIMIZERS[name]([weight], 0.0)
        handle, generator = sd.watch(optimizer), torch.Generator().manual_seed(1)
        for step_lr in (0.0, lr):
            optimizer.param_groups[0]["lr"] = step_lr
            weight.grad = torch.randn(SHAPE, generator=generator).to(dtype).to(kept)
            optimizer.step()
        results.append(handle.record()["layers"]["group_0.0"])
    return results


def require_right(found: dict[str, float], true: dict[str, float], rel: float) -> bool:
    """Whether the update is measured; what is given must be right."""
    given = UPDATE_MEASURES & set(found)
    assert given in (set(), UPDATE_MEASURES & set(true))
    for measure in ("update_norm", "rotation", "predicted_norm_measured"):
        if measure in given:
            assert found[measure] == pytest.approx(true[measure], rel=rel)
    if given:
        assert found["update_cosine"] == pytest.approx(true["update_cosine"], abs=0.1)
    return bool(given)


@pytest.mark.parametrize("scale", [0.02, 1.0])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_down_a_schedule_measures_are_right_until_they_are_left_out(name: str, scale: float) -> None:
    is_given = [require_right(*measured_and_true(name, lr, scale, torch.float32), rel=0.01) for lr in LRS]
    count = sum(is_given)
    assert is_given == [True] * count + [False] * (len(LRS) - count), "never again once it is lost"
    # A unit in the last place is 1e-7 of a weight, and an entry of an update is 1, or 1/40 under a sign norm.
    assert is_given[3] and not is_given[9], "1e-4 and 1e-10"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", COMPENSATED)
def test_of_compensated_weights_an_update_below_their_unit_is_measured(name: str, dtype: torch.dtype) -> None:
    unit = torch.finfo(dtype).eps * 0.02
    for lr in (unit, 3 * unit):
        found, true = measured_and_true(name, lr, 1.0, dtype)
        assert require_right(found, true, rel=0.02), (name, dtype, lr)
    assert not require_right(*measured_and_true(name, 1e-9, 1.0, dtype), rel=0.02)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_of_weights_that_round_it_is_left_out_below_their_unit(dtype: torch.dtype) -> None:
    found, _ = measured_and_true("adamw", torch.finfo(dtype).eps * 0.02, 1.0, dtype)
    assert not UPDATE_MEASURES & set(found) and "weight_norm" in found and "predicted_norm" in found


def test_at_the_end_of_a_long_cosine_the_prediction_is_by_theory_alone() -> None:
    weight = nn.Parameter(start(0.1))
    optimizer = torch.optim.AdamW([weight], 1e-3, weight_decay=0.1)
    handle = sd.watch(optimizer)
    for step in range(40):
        optimizer.param_groups[0]["lr"] = 8e-9 + 1e-3 * (1 + math.cos(math.pi * step / 39)) / 2
        weight.grad = torch.randn(SHAPE, generator=torch.Generator().manual_seed(step))
        optimizer.step()
    metrics = handle.metrics()
    assert {key.rpartition("/")[2] for key in metrics}.isdisjoint(UPDATE_MEASURES)
    for prefix in ("layer/group_0.0/", "group/group_0/"):
        assert metrics[f"{prefix}weight_norm"] == pytest.approx(float(weight.detach().double().norm()), rel=1e-6)
        assert metrics[f"{prefix}predicted_norm"] > 0


def group_of(gradients: Sequence[float], lr: float) -> dict[str, dict[str, float]]:
    weights = [nn.Parameter(start(1.0)) for _ in gradients]
    optimizer = sd.SGDW(weights, lr, weight_decay=0.1)
    handle = sd.watch(optimizer)
    for scale, weight in zip(gradients, weights, strict=True):
        weight.grad = scale * start(1.0)
    optimizer.step()
    record = handle.record()
    return {**record["layers"], **record["groups"]}


def test_a_layer_that_rounding_moves_does_not_hide_its_group() -> None:
    found = group_of([1.0, 0.0], lr=1e-3)
    assert set(found["group_0"]) >= UPDATE_MEASURES and set(found["group_0.0"]) >= UPDATE_MEASURES
    assert not UPDATE_MEASURES & set(found["group_0.1"])
    assert found["group_0"]["update_norm"] == pytest.approx(found["group_0.0"]["update_norm"], rel=0.01)
    assert found["group_0"]["predicted_norm_measured"] == pytest.approx(
        found["group_0.0"]["predicted_norm_measured"], rel=0.01
    )


def test_a_group_whose_layers_are_all_moved_by_rounding_has_no_measured_update() -> None:
    assert not UPDATE_MEASURES & set(group_of([1.0, 0.5], lr=1e-9)["group_0"])


@pytest.mark.parametrize("lr", [1e-9, 1e-12])
def test_a_watch_of_the_last_steps_alone_finds_no_drift_in_rounding(lr: float) -> None:
    weight = nn.Parameter(start(1.0))
    optimizer = torch.optim.AdamW([weight], lr, weight_decay=0.1)
    handle = sd.watch(optimizer)
    for step in range(20):
        weight.grad = torch.randn(SHAPE, generator=torch.Generator().manual_seed(step))
        optimizer.step()
    found = handle.record()
    assert 0 < found["layers"]["group_0.0"]["time_constants"] < 1e-8
    assert "drift" not in found["layers"]["group_0.0"] and "drift" not in found["groups"]["group_0"]
    assert found["verdicts"] == {"group_0.0": "not yet there"}
