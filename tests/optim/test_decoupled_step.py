"""Lion and SGDW: which operations a step makes, what memory it takes, and that neither changes a bit."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_contract import random_gradients, random_parameters, same_bits, values
from torch import Tensor, nn

import steadydecay as sd
from steadydecay.groups import settings
from steadydecay.optim.batches import elementwise_batches
from steadydecay.optim.batches.elementwise_batches import Sizes
from steadydecay.optim.decoupled_step import descend
from step_costs import operations, peak_bytes

Build = Callable[..., torch.optim.Optimizer]
BUILDS: dict[str, Build] = {
    "lion": lambda params, **keys: sd.Lion(params, 0.1, (0.8, 0.9), weight_decay=0.5, **keys),
    "sgdw": lambda params, **keys: sd.SGDW(params, 0.1, 0.9, weight_decay=0.5, **keys),
    "sgdw_nesterov": lambda params, **keys: sd.SGDW(params, 0.1, 0.9, nesterov=True, weight_decay=0.5, **keys),
}
over_optimizers = pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS.keys())
SHAPES = ((40, 30), (1, 1000), (17,), (), (0, 3), (6, 5, 4, 3))


def with_gradients(parameters: list[Any], seed: int = 0) -> list[Any]:
    for parameter, gradient in zip(parameters, random_gradients(parameters, seed), strict=True):
        parameter.grad = gradient
    return parameters


def turn_gradient(parameter: Tensor) -> None:
    """Put it into the other order of memory."""
    assert parameter.grad is not None
    parameter.grad = parameter.grad.t().contiguous().t()


def trained(build: Build, dtype: torch.dtype, **keys: Any) -> tuple[list[Any], list[Tensor]]:
    """Weights and state after a few steps; one weight is not contiguous, and one gradient."""
    parameters = random_parameters(*SHAPES, dtype=torch.float64)
    parameters = [nn.Parameter(parameter.detach().to(dtype)) for parameter in parameters]
    parameters.append(nn.Parameter(torch.linspace(-1, 1, 600).reshape(30, 20).to(dtype).t()))
    optimizer = build(parameters, **keys)
    for step in range(3):
        with_gradients(parameters, step)
        turn_gradient(parameters[0])
        optimizer.step()
    return parameters, [tensor for p in parameters for tensor in optimizer.state[p].values()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("sizes", [Sizes(7, 6), Sizes(64, 1280), Sizes(1000, 40)])
@over_optimizers
def test_the_batches_change_no_bit(
    build: Build, sizes: Sizes, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = trained(build, dtype)
    alone = trained(build, dtype, foreach=False)
    monkeypatch.setattr(elementwise_batches, "ON_CPU", sizes)
    cut = trained(build, dtype)
    for one, *others in zip(together, alone, cut, strict=True):
        for other in others:
            assert same_bits([t.float() for t in one], [t.float() for t in other])


@over_optimizers
def test_strides_change_no_bit(build: Build) -> None:
    """torch's fused SGD looks at memory alone."""
    weights, gradients = torch.randn(2, 300, 7)
    plain, strided, turned = (nn.Parameter(weights.clone()) for _ in range(3))
    strided.data = strided.data.t().contiguous().t()
    for parameter in (plain, strided, turned):
        parameter.grad = gradients.clone()
        optimizer = build([parameter], foreach=False)
        if parameter is turned:
            turn_gradient(parameter)
            optimizer.state[parameter]["momentum"] = torch.zeros(7, 300).t()
        optimizer.step()
        assert torch.equal(parameter, plain)


def test_the_operations_of_a_step_do_not_grow_with_the_number_of_small_weights() -> None:
    for name, expected in {
        "lion": ["_foreach_lerp", "_foreach_lerp_", "_foreach_sign_", "_foreach_add", "_foreach_add_"],
        "sgdw": ["add"] * 50 + ["_foreach_add", "_foreach_add_"],
        "sgdw_nesterov": ["add"] * 50 + ["_foreach_add", "_foreach_add", "_foreach_add_"],
    }.items():
        optimizer = BUILDS[name](with_gradients(random_parameters(*[(4, 3)] * 50)))
        assert operations(optimizer.step) == expected


def test_a_large_weight_is_read_and_written_in_two_operations_of_sgdw() -> None:
    (weight,) = with_gradients(random_parameters((300, 300)))
    assert operations(sd.SGDW([weight], 0.1, 0.9, weight_decay=0.5).step) == ["add", "_fused_sgd_"]
    lion = ["_foreach_lerp", "_foreach_lerp_", "_foreach_sign_"]
    assert operations(sd.Lion([weight], 0.1, weight_decay=0.5).step) == [*lion, "_fused_sgd_"]
    assert operations(sd.Lion([weight], 0.1).step) == [*lion, "_foreach_add_"]


@pytest.mark.parametrize(
    "weight",
    [torch.randn(9, 9).t(), torch.randn(9, 9, dtype=torch.complex64)],
    ids=["transposed", "complex"],
)
def test_what_torchs_fused_sgd_cannot_take_goes_another_way(weight: Tensor) -> None:
    update = torch.randn(9, 9).to(weight.dtype)
    expected = weight * (1 - 0.1 * 0.5) - 0.1 * update
    descend([weight], [update], 0.1, 0.5)
    torch.testing.assert_close(weight, expected)


@pytest.mark.parametrize("shapes", [[(4, 3), (6,)], [(300, 300)]], ids=["small", "large"])
@over_optimizers
def test_no_tensor_on_an_accelerator_is_read(
    build: Build, shapes: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading one would wait for all work of the device."""
    monkeypatch.setattr(settings, "_is_readable", lambda value: False)
    optimizer = build(with_gradients(random_parameters(*shapes)), decay="corrected")
    group = optimizer.param_groups[0]
    group.update(lr=torch.tensor(0.1), weight_decay=torch.tensor(0.5))
    if "betas" in group:
        group["betas"] = (torch.tensor(0.8), torch.tensor(0.9))
    else:
        group["momentum"] = torch.tensor(0.9)
    assert "_local_scalar_dense" not in operations(optimizer.step)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@over_optimizers
def test_temporaries_are_small_beside_large_weights(build: Build, dtype: torch.dtype) -> None:
    parameters = [nn.Parameter(torch.zeros(shape, dtype=dtype)) for shape in ((2**13, 2**11), (2**22,), (2**22,))]
    optimizer = build(with_gradients(parameters))
    entries = sum(parameter.numel() for parameter in parameters)
    # Rounding to bfloat16 keeps several float32 tensors of a piece.
    assert peak_bytes(optimizer.step) < 0.4 * entries * (1 if dtype == torch.float32 else 2)


@pytest.mark.parametrize("entries", [1000, 2**17], ids=["small", "large"])
def test_a_step_rounds_a_weight_once(entries: int) -> None:
    """1-η in float32 would be a multiple of 6·10⁻⁸, and its product with θ would be rounded before γu is taken off."""
    weight, update = torch.randn(2, entries)
    exact = weight.double() * (1 - 1e-3 * 0.1) - 1e-3 * update.double()
    descend([weight], [update], 1e-3, 0.1)
    is_large = exact.abs() > 0.5
    spacing = 2.0 ** (exact.frexp().exponent - 24).double()
    assert ((weight.double() - exact).abs() / spacing)[is_large].max() < 0.51


def test_a_narrow_weight_without_compensation_takes_lr_unrounded() -> None:
    """As an α, torch would take 0.30078125 for 0.3 in bfloat16."""
    weight = nn.Parameter(torch.full((64,), 100.0).bfloat16())
    weight.grad = torch.full_like(weight, 1000.0)
    sd.SGDW([weight], 0.3, low_precision="none").step()
    assert weight.tolist() == [-200.0] * 64


@over_optimizers
def test_gradients_may_be_of_another_dtype(build: Build) -> None:
    same, wider = (nn.Parameter(torch.randn(6).bfloat16()) for _ in range(2))
    wider.data.copy_(same.data)
    same.grad = torch.randn(6).bfloat16()
    wider.grad_dtype = torch.float32
    wider.grad = same.grad.float()
    build([same]).step()
    build([wider, nn.Parameter(torch.randn(3))]).step()
    assert torch.equal(same, wider)


@pytest.mark.parametrize("shapes", [[(40, 30), (17,)], [(300, 300)]], ids=["two", "one"])
@over_optimizers
def test_a_compiled_step_is_whole_weights_in_operations_that_can_be_fused(
    build: Build, shapes: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elementwise_batches, "ON_CPU", Sizes(7, 3))
    graphs: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    eager, compiled = (with_gradients(random_parameters(*shapes, dtype=torch.float32)) for _ in range(2))
    build(eager).step()
    torch._dynamo.reset()
    torch.compile(build(compiled).step, backend=backend)()
    (graph,) = graphs
    names = {str(node.target) for node in graph.graph.nodes if node.op.startswith("call")}
    assert names
    assert not any(part in name for name in names for part in ("split", "view", "fused"))
    torch.testing.assert_close(values(compiled), values(eager), rtol=1e-6, atol=1e-6)
