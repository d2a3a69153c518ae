"""A compiled step compiles once, whatever a schedule moves: hyperparameters are tensors that schedulers fill."""

from typing import Any

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.optim.lr_scheduler import CosineAnnealingLR

from steadydecay.optim.adamc import AdamC
from steadydecay.optim.renormalized_adamw import RenormalizedAdamW
from steadydecay.optim.scion import Scion, ScionC
from steadydecay.schedules.effective_lr import EffectiveLR
from steadydecay.schedules.steady_norm import SteadyNorm

STEPS = 8
SHAPES = [(4, 3), (4, 3), (3,)]
CASES: dict[str, tuple[type[Scion], dict[str, Any]]] = {
    "scion": (Scion, {}),
    "scionc": (ScionC, {}),
    "exact": (Scion, {"decay": "exact"}),
    "nesterov": (ScionC, {"nesterov": True}),
    "memory_light": (ScionC, {"memory_light": True}),
}


@pytest.fixture(autouse=True)
def fresh_dynamo() -> Any:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def build(optimizer_class: type[Scion], dtype: torch.dtype = torch.float32, **keys: Any) -> Scion:
    generator = torch.Generator().manual_seed(0)
    parameters = [nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in SHAPES]
    momentum: Any = keys.pop("momentum", torch.tensor(0.9))
    decay = {} if "steady_norm_sq" in keys else {"weight_decay": torch.tensor(0.5)}
    return optimizer_class(parameters, keys.pop("lr", torch.tensor(0.1)), momentum, **decay, **keys)


def parameters_of(optimizer: Scion) -> list[Any]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def train(optimizer: Scion, schedulers: list[Any], backend: str | None) -> tuple[int, int]:
    """Graphs compiled in the first step and after it."""
    counter = CompileCounterWithBackend(backend or "eager")
    step: Any = torch.compile(optimizer.step, backend=counter) if backend else optimizer.step
    first = 0
    for seed in range(STEPS):
        generator = torch.Generator().manual_seed(seed)
        for parameter in parameters_of(optimizer):
            parameter.grad = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)
        step()
        optimizer._opt_called = True  # pyright: ignore[reportAttributeAccessIssue]
        first = first or counter.frame_count
        for scheduler in schedulers:
            scheduler.step()
    return first, counter.frame_count - first


def assert_same_end(optimizers: list[Scion], tolerance: float) -> None:
    for compiled, eager in zip(*map(parameters_of, optimizers), strict=True):
        torch.testing.assert_close(compiled, eager, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("name", "backend"), [("scion", "eager"), *((name, "aot_eager") for name in CASES)])
def test_a_cosine_lr_and_a_momentum_schedule_compile_once(name: str, backend: str) -> None:
    optimizer_class, keys = CASES[name]
    optimizers = [build(optimizer_class, **keys) for _ in range(2)]
    for optimizer, used in zip(optimizers, (backend, None), strict=True):
        scheduler = EffectiveLR(optimizer, "cosine", steps=STEPS, via="both")
        graphs = train(optimizer, [scheduler], used)
        assert graphs == ((1, 0) if used else (0, 0))
        assert float(optimizer.param_groups[0]["lr"]) == pytest.approx(0.0, abs=1e-9)
    assert_same_end(optimizers, 1e-5)


def test_torchs_own_cosine() -> None:
    optimizer = build(ScionC)
    assert train(optimizer, [CosineAnnealingLR(optimizer, T_max=STEPS)], "eager") == (1, 0)


@pytest.mark.parametrize("rule", ["constant", "corrected", "exact"])
def test_a_schedule_of_the_steady_norm_compiles_once(rule: str) -> None:
    optimizers = [build(Scion, decay=rule, steady_norm_sq=torch.tensor(3.0)) for _ in range(2)]
    for optimizer, used in zip(optimizers, ("eager", None), strict=True):
        lr = EffectiveLR(optimizer, "cosine", steps=STEPS, via="momentum")
        norm = SteadyNorm(optimizer, "cosine", steps=STEPS, start=3.0, end=1.0)
        assert train(optimizer, [lr, norm], used) == ((1, 0) if used else (0, 0))
    assert_same_end(optimizers, 1e-5)


@pytest.mark.parametrize(
    ("low_precision", "dtype"),
    [
        ("compensated", torch.bfloat16),
        ("compensated", torch.float16),
        ("stochastic", torch.bfloat16),
        ("none", torch.float16),
    ],
)
def test_low_precision_weights_compile_once(low_precision: str, dtype: torch.dtype) -> None:
    optimizers = [build(ScionC, dtype, low_precision=low_precision) for _ in range(2)]
    for optimizer, used in zip(optimizers, ("eager", None), strict=True):
        scheduler = EffectiveLR(optimizer, "cosine", steps=STEPS, via="both")
        assert train(optimizer, [scheduler], used) == ((1, 0) if used else (0, 0))
    for compiled, eager in zip(*map(parameters_of, optimizers), strict=True):
        assert compiled.detach().equal(eager.detach())


def test_the_count_sees_a_step_that_compiles_again() -> None:
    """A float lr is a constant to the compiler."""
    optimizer = build(ScionC, lr=0.1)
    first, later = train(optimizer, [CosineAnnealingLR(optimizer, T_max=STEPS)], "eager")
    assert first == 1
    assert later >= 1


@pytest.mark.parametrize("optimizer_class", [AdamC, RenormalizedAdamW])
def test_adam_with_a_moving_lr_compiles_once(optimizer_class: Any) -> None:
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("eager")
    parameters = [torch.nn.Parameter(torch.randn(4, 3)), torch.nn.Parameter(torch.randn(6))]
    optimizer = optimizer_class(parameters, lr=torch.tensor(0.01), weight_decay=0.5)
    step = torch.compile(optimizer.step, backend=counter)
    frames = []
    for index in range(5):
        optimizer.param_groups[0]["lr"].fill_(0.01 * (1 - index / 5))
        for parameter in parameters:
            parameter.grad = torch.randn_like(parameter)
        step()
        frames.append(counter.frame_count)
    assert frames[0] >= 1
    assert frames[-1] == frames[0]
