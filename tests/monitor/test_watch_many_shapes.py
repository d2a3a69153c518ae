"""Many weights of different shapes: measured together by zeros around them, as each is measured alone, at few calls."""

import cProfile
import pstats
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import steadydecay as sd
from steadydecay.monitor.chunks import Matrices, Scratch, padded_shape, places_in_stack, stacked_rows

pytestmark = pytest.mark.usefixtures("one_cpu_thread")

SHAPES = [
    (5, 3),
    (6, 4),
    (7, 3),
    (3, 7),
    (2, 2),
    (1, 1),
    (1, 5),
    (1, 6),
    (),
    (3,),
    (4,),
    (7,),
    (8,),
    (40, 33),
    (50, 41),
    (33, 2),
]
Make = Callable[[list[Any]], torch.optim.Optimizer]
OPTIMIZERS: dict[str, Make] = {
    "lion": lambda groups: sd.Lion(groups, 0.01, weight_decay=0.5),
    "scionc": lambda groups: sd.ScionC(groups, 0.01, weight_decay=0.5),
    "adamw": lambda groups: torch.optim.AdamW(groups, 0.01, weight_decay=0.5),
}


def parameter_of(position: int, dtype: torch.dtype) -> nn.Parameter:
    generator = torch.Generator().manual_seed(position)
    return nn.Parameter(torch.randn(SHAPES[position], generator=generator).to(dtype))


def groups_of(positions: list[int], dtype: torch.dtype) -> list[dict[str, Any]]:
    """Of two lrs, so that a batch holds layers of several groups."""
    halves = [[at for at in positions if at % 2 == side] for side in range(2)]
    named = [[(f"weight_{at}", parameter_of(at, dtype)) for at in half] for half in halves]
    return [{"params": half, "lr": lr} for half, lr in zip(named, (0.01, 0.02), strict=True) if half]


def records(make: Make, positions: list[int], dtype: torch.dtype, steps: int = 4) -> dict[str, dict[str, float]]:
    optimizer = make(groups_of(positions, dtype))
    handle = sd.watch(optimizer)
    for step in range(steps):
        for group in optimizer.param_groups:
            for name, parameter in zip(group["param_names"], group["params"], strict=True):
                generator = torch.Generator().manual_seed(100 * step + int(name.removeprefix("weight_")))
                gradient = torch.randn(parameter.shape, generator=generator).to(dtype)
                # One layer is not moved by every step.
                parameter.grad = None if name == "weight_1" and step == 2 else gradient
        optimizer.step()
    return handle.record()["layers"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_is_measured_as_it_is_alone(name: str, dtype: torch.dtype) -> None:
    positions = list(range(len(SHAPES)))
    together = records(OPTIMIZERS[name], positions, dtype)
    for at in positions:
        (alone,) = records(OPTIMIZERS[name], [at], dtype).values()
        found = together[f"weight_{at}"]
        assert found.keys() == alone.keys()
        # A spectral norm that iteration finds from another start is right to 1 %.
        tolerances = {key: 1e-2 if key == "spectral_norm" else 1e-4 for key in alone}
        for key, value in alone.items():
            assert found[key] == pytest.approx(value, rel=tolerances[key], abs=1e-6), (at, key)


@pytest.mark.parametrize("role", ["embedding", "output"])
def test_a_sign_norm_counts_the_columns_of_its_own_layer(role: str) -> None:
    weights = [nn.Parameter(torch.full(shape, 2.0)) for shape in ((5, 3), (6, 4), (7, 3))]
    optimizer = torch.optim.AdamW([{"params": weights, "role": role}], 0.0)
    handle = sd.watch(optimizer)
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    found = handle.record()["layers"].values()
    assert [layer["sign_norm"] for layer in found] == [6.0, 8.0, 6.0]


def test_a_stack_of_several_shapes_is_zero_around_them() -> None:
    parts = [torch.randn(5, 3), torch.randn(7, 4), torch.randn(8, 1)]
    shapes = [(5, 3), (7, 4), (8, 1)]
    places = places_in_stack(shapes, padded_shape(7, 4), parts[0].device)
    scratch = Scratch()
    scratch.take("weights", (200,), parts[0], torch.float32).fill_(9.0)
    stacked = stacked_rows(Matrices(parts, (8, 4), places), slice(0, 8), scratch, "weights")
    for part, (rows, columns), matrix in zip(parts, shapes, stacked, strict=True):
        assert torch.equal(matrix[:rows, :columns], part)
        matrix[:rows, :columns] = 0
        assert not matrix.any()


def calls_of_a_measured_step(count: int) -> int:
    shapes = [(2 + at // 30, 2 + at % 30) for at in range(count)]
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(shape)) for shape in shapes], 0.01)
    for parameter in optimizer.param_groups[0]["params"]:
        parameter.grad = torch.ones_like(parameter)
    handle = sd.watch(optimizer)
    optimizer.step()
    assert handle.measured_step == 1
    with cProfile.Profile() as profile:
        optimizer.step()
    stats: Any = pstats.Stats(profile)
    return stats.total_calls


def test_a_measured_step_makes_few_calls_for_each_shape() -> None:
    """With a batch for each shape there were 600."""
    few, many = map(calls_of_a_measured_step, (300, 600))
    assert many - few < 60 * 300
