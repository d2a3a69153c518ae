"""The optimizers' steps on the device: recorded in a CUDA graph, replayed under a moving lr, and never waiting."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from exact_stacks import gaussian
from torch import Tensor, nn

import steadydecay as sd

SHAPES = {
    "cuda": [(768, 768), (768, 768), (768, 3072), (3072, 768), (2304, 768), (2048, 2048), (768,), (64, 32, 3, 3)],
    "cpu": [(24, 24), (24, 24), (24, 96), (96, 24), (24,), (8, 4, 3, 3)],
}
LRS = [0.01, 0.02, 0.005, 0.0, 0.03]
Build = Callable[[list[nn.Parameter], Any], torch.optim.Optimizer]
OPTIMIZERS: dict[str, Build] = {
    "Scion": lambda weights, lr: sd.Scion(weights, lr, weight_decay=0.1),
    "Scion nesterov": lambda weights, lr: sd.Scion(weights, lr, nesterov=True, weight_decay=0.1),
    "ScionC": lambda weights, lr: sd.ScionC(weights, lr, weight_decay=0.1),
    "ScionC memory_light": lambda weights, lr: sd.ScionC(weights, lr, weight_decay=0.1, memory_light=True),
    "Lion": lambda weights, lr: sd.Lion(weights, lr, weight_decay=0.1, decay="corrected"),
    "SGDW": lambda weights, lr: sd.SGDW(weights, lr, momentum=0.9, weight_decay=0.1, decay="corrected"),
    "AdamC": lambda weights, lr: sd.AdamC(weights, lr, weight_decay=0.1, capturable=weights[0].is_cuda),
    "AdamC foreach": lambda weights, lr: sd.AdamC(
        weights, lr, weight_decay=0.1, capturable=weights[0].is_cuda, foreach=weights[0].is_cuda
    ),
}
FUSED: dict[str, Build] = {"AdamC fused": lambda weights, lr: sd.AdamC(weights, lr, weight_decay=0.1, fused=True)}


class Recorded:
    """A step in a CUDA graph; on the CPU, which has none, the step itself."""

    def __init__(self, step: Callable[[], Any], device: str) -> None:
        self._graph = torch.cuda.CUDAGraph() if device == "cuda" else None
        self._step = step
        if self._graph is not None:
            torch.cuda.synchronize()
            with torch.cuda.graph(self._graph):
                step()

    def replay(self) -> None:
        self._step() if self._graph is None else self._graph.replay()


def weights_on(device: str, dtype: torch.dtype, shapes: list[tuple[int, ...]]) -> list[nn.Parameter]:
    """With gradients whose memory stays."""
    weights = [nn.Parameter(gaussian(shape, seed).to(dtype).to(device)) for seed, shape in enumerate(shapes)]
    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    return weights


def give_gradients(weights: list[nn.Parameter], seed: int) -> None:
    for index, weight in enumerate(weights):
        assert weight.grad is not None
        gradient = gaussian(tuple(weight.shape), 1000 * seed + index).to(weight.dtype)
        weight.grad.copy_(gradient)


def tensors_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    states = [state for parameter in optimizer.param_groups[0]["params"] for state in [optimizer.state[parameter]]]
    return [*optimizer.param_groups[0]["params"], *(value for state in states for value in state.values())]


def warm_up(optimizers: list[torch.optim.Optimizer], weights: list[list[nn.Parameter]], device: str) -> None:
    """Two equal steps each, on the side stream that recording wants, so that kernels are compiled and chosen."""
    stream = torch.cuda.Stream() if device == "cuda" else None
    if stream is not None:
        stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for seed in range(2):
            for optimizer, parameters in zip(optimizers, weights, strict=True):
                give_gradients(parameters, seed)
                optimizer.step()
    if stream is not None:
        torch.cuda.current_stream().wait_stream(stream)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_replay_is_the_eager_step_bit_for_bit_while_the_lr_moves(name: str, dtype: torch.dtype, device: str) -> None:
    eager_weights, weights = (weights_on(device, dtype, SHAPES[device]) for _ in range(2))
    eager_lr, lr = torch.tensor(0.01), torch.tensor(0.01)
    eager, optimizer = OPTIMIZERS[name](eager_weights, eager_lr), OPTIMIZERS[name](weights, lr)
    warm_up([eager, optimizer], [eager_weights, weights], device)
    recorded = Recorded(optimizer.step, device)
    for seed, value in enumerate(LRS, start=2):
        eager_lr.fill_(value)
        lr.fill_(value)
        give_gradients(eager_weights, seed)
        give_gradients(weights, seed)
        before = [weight.detach().clone() for weight in weights]
        eager.step()
        recorded.replay()
        for one, other in zip(tensors_of(eager), tensors_of(optimizer), strict=True):
            assert torch.equal(one, other)
        for weight, old in zip(weights, before, strict=True):
            assert torch.equal(weight, old) == (value == 0)


@contextmanager
def no_waiting(device: str) -> Iterator[None]:
    """On CUDA, waiting for the device raises; on the meta device, so does reading a value."""
    if device == "cuda":
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        if device == "cuda":
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("is_tensor", [False, True], ids=["number", "tensor"])
@pytest.mark.parametrize("name", [*OPTIMIZERS, *FUSED])
def test_a_step_does_not_wait_for_the_device(name: str, is_tensor: bool, device: str) -> None:
    weights = weights_on(device, torch.float32, SHAPES[device])
    # torch's Adam reads a tensor lr unless it is capturable, which it can only be on a GPU.
    is_read = name.startswith("AdamC") and device == "cpu"
    lr: Any = torch.tensor(0.01) if is_tensor and not is_read else 0.01
    optimizer = (OPTIMIZERS | FUSED)[name](weights, lr)
    give_gradients(weights, 0)
    optimizer.step()
    if device == "cpu":
        move_to_meta(optimizer)
    with no_waiting(device):
        optimizer.step()


def move_to_meta(optimizer: torch.optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        weights = group["params"]
        group.update({key: on_meta(value) for key, value in group.items()})
        group["params"] = [nn.Parameter(torch.empty_like(weight, device="meta")) for weight in weights]
        for old, new in zip(weights, group["params"], strict=True):
            new.grad = torch.empty_like(new)
            # Adam counts its steps on the CPU unless it is capturable.
            optimizer.state[new] = {
                key: value if key == "step" else on_meta(value) for key, value in optimizer.state.pop(old, {}).items()
            }


def on_meta(value: Any) -> Any:
    return value.to("meta") if isinstance(value, Tensor) else value


def test_a_test_for_waiting_sees_it(device: str) -> None:
    x = torch.ones((), device="meta" if device == "cpu" else device)
    with no_waiting(device), pytest.raises(RuntimeError):
        float(x)
