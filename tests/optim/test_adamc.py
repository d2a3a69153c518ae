"""AdamC beside torch.optim.AdamW: the same steps, with a weight decay of its own."""

import copy
import inspect
import math
from typing import Any

import pytest
import torch
from test_contract import all_parameters, assert_close, random_gradients, random_parameters, same_bits, train, values
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.optim import AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR

import steadydecay as sd
from steadydecay.optim import adamc
from steadydecay.optim.batches import elementwise_batches
from steadydecay.optim.batches.elementwise_batches import Sizes
from step_costs import operations, peak_bytes

MODES: list[dict[str, Any]] = [
    {},
    {"foreach": False},
    {"foreach": True},
    {"fused": True},
    {"foreach": True, "amsgrad": True},
    {"fused": True, "amsgrad": True, "maximize": True},
    {"foreach": False, "differentiable": True},
]
MODE_NAMES = ["+".join(mode) + str(mode.get("foreach", "")) or "default" for mode in MODES]
SETTINGS: dict[str, Any] = {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.5}


def steps_of(mode: dict[str, Any], decay: str) -> tuple[Any, Any]:
    return (
        AdamW(random_parameters((4, 3), (6,), dtype=torch.float32), **SETTINGS, **mode),
        sd.AdamC(random_parameters((4, 3), (6,), dtype=torch.float32), **SETTINGS, **mode, decay=decay),
    )


@pytest.mark.parametrize("mode", MODES, ids=MODE_NAMES)
def test_with_a_constant_rule_it_is_adamw_bit_for_bit(mode: dict[str, Any]) -> None:
    optimizers = steps_of(mode, "constant")
    for optimizer in optimizers:
        if mode.get("differentiable"):
            _make_not_leaf(optimizer)
        train(optimizer, range(20), CosineAnnealingLR(optimizer, 20))
    assert same_bits(*map(all_parameters, optimizers))


@pytest.mark.parametrize("mode", MODES, ids=MODE_NAMES)
def test_corrected_it_is_adamw_whose_decay_is_scheduled_by_hand(mode: dict[str, Any]) -> None:
    adamw, adamc = steps_of(mode, "corrected")
    for step in range(20):
        lr = 0.02 * (1 + math.cos(math.pi * step / 20)) / 2
        adamw.param_groups[0].update(lr=lr, weight_decay=0.5 * (lr / 0.02))
        adamc.param_groups[0]["lr"] = lr
        for optimizer in (adamw, adamc):
            if mode.get("differentiable") and step == 0:
                _make_not_leaf(optimizer)
            train(optimizer, range(step, step + 1))
    assert same_bits(all_parameters(adamw), all_parameters(adamc))


def _make_not_leaf(optimizer: torch.optim.Optimizer) -> None:
    """A differentiable step changes its parameters in place with gradients on, which no leaf allows."""
    for parameter in all_parameters(optimizer):
        parameter.requires_grad_(False)


@pytest.mark.parametrize("mode", MODES, ids=MODE_NAMES)
def test_the_state_is_what_torch_makes_at_the_first_step(mode: dict[str, Any]) -> None:
    adamw, adamc = steps_of(mode, "corrected")

    def layout(optimizer: torch.optim.Optimizer) -> dict[Any, Any]:
        state = optimizer.state_dict()["state"]
        return {i: [(k, v.dtype, v.shape, v.device, v.stride()) for k, v in of.items()] for i, of in state.items()}

    before = layout(adamc)
    assert layout(adamw) == {}
    for optimizer in (adamw, adamc):
        if mode.get("differentiable"):
            _make_not_leaf(optimizer)
        train(optimizer, range(1))
    assert before == layout(adamc) == layout(adamw)


def test_the_step_counter_has_torch_s_type_under_a_double_default() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        for mode in ({}, {"fused": True}):
            adamw, adamc = steps_of(mode, "constant")
            train(adamw, range(1))
            types = [next(iter(o.state.values()))["step"].dtype for o in (adamw, adamc)]
            assert types[0] == types[1]
    finally:
        torch.set_default_dtype(torch.float32)


def test_it_takes_all_arguments_of_adamw_in_their_order() -> None:
    theirs, ours = (inspect.signature(c).parameters for c in (AdamW, sd.AdamC))
    positional = [name for name, p in theirs.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert list(ours)[: len(positional)] == positional
    assert set(ours) - set(theirs) == {"decay", "low_precision", "steady_norm_sq"}
    assert {n: ours[n].default for n in theirs if n != "weight_decay"} == {
        n: p.default for n, p in theirs.items() if n != "weight_decay"
    }
    assert sd.AdamC(random_parameters((2,))).param_groups[0]["weight_decay"] == theirs["weight_decay"].default
    assert sd.AdamC(random_parameters((2,))).param_groups[0]["decay"] == "corrected"


def test_a_steady_norm_stands_in_for_the_default_decay() -> None:
    group = {"params": random_parameters((2,)), "steady_norm_sq": 0.1}
    for optimizer in (sd.AdamC(random_parameters((2,)), steady_norm_sq=0.1), sd.AdamC([group])):
        parameters = all_parameters(optimizer)
        before = values(parameters)
        assert optimizer.param_groups[0]["weight_decay"] == 0.0
        parameters[0].grad = torch.zeros_like(parameters[0])
        optimizer.step()
        assert_close(parameters, [before[0] * (1 - 1e-3**2 / (2 * 0.1))], 1e-12)


def test_a_failing_step_leaves_the_coefficient(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = [{"params": random_parameters((3,))}, {"params": random_parameters((3,)), "weight_decay": 0.25}]
    optimizer, seen = sd.AdamC(groups, lr=0.1, weight_decay=0.5), []
    for group in optimizer.param_groups:
        group["lr"] = 0.05

    def fail(*_: Any, weight_decay: float, **__: Any) -> None:
        seen.append(weight_decay)
        if len(seen) == 2:
            raise RuntimeError("out of memory")

    monkeypatch.setattr(adamc, "adamw", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        train(optimizer, range(1))
    assert seen == [0.25, 0.125]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5, 0.25]


@pytest.mark.parametrize("mode", [{"foreach": False}, {"fused": True}], ids=["single", "fused"])
def test_under_a_tensor_lr_torch_sees_a_number(mode: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A tensor would be compared with 0, or read by the fused kernel: both wait for a GPU."""
    seen = []
    parameters, weight_decay = random_parameters((3,)), torch.tensor(0.5)
    optimizer = sd.AdamC(parameters, lr=torch.tensor(0.1), weight_decay=weight_decay, **mode)
    optimizer.param_groups[0]["lr"].fill_(0.05)

    def watched(*_: Any, weight_decay: Any, **__: Any) -> None:
        seen.append(weight_decay)

    monkeypatch.setattr(adamc, "adamw", watched)
    before = values(parameters)
    parameters[0].grad = torch.zeros_like(parameters[0])
    optimizer.step()
    assert seen == [0.0]
    assert isinstance(seen[0], float)
    assert optimizer.param_groups[0]["weight_decay"] is weight_decay
    assert_close(parameters, [before[0] * (1 - 0.05 * 0.25)], 1e-7)


@pytest.mark.parametrize("is_tensor", [False, True])
def test_a_step_that_a_grad_scaler_skips_changes_no_bit(is_tensor: bool) -> None:
    for optimizer_class in (sd.AdamC, sd.RenormalizedAdamW):
        parameters = random_parameters((4, 3), dtype=torch.float32)
        lr = torch.tensor(0.1) if is_tensor else 0.1
        optimizer = optimizer_class(parameters, lr=lr, weight_decay=0.5, fused=True, decay="corrected")
        before, state = values(parameters), copy.deepcopy(optimizer.state_dict()["state"])
        parameters[0].grad = torch.full_like(parameters[0], math.inf)
        vars(optimizer).update(grad_scale=torch.tensor(2.0), found_inf=torch.tensor(1.0))
        optimizer.step()
        assert same_bits(parameters, before)
        assert all(torch.equal(value, optimizer.state[parameters[0]][key]) for key, value in state[0].items())


def test_a_checkpoint_of_adamw_goes_on_under_adamc() -> None:
    """The reference is where its schedule began."""
    parameters = random_parameters((6,))
    adamw = AdamW([{"params": parameters, "role": "hidden"}], **SETTINGS)
    scheduler = CosineAnnealingLR(adamw, 10)
    train(adamw, range(5), scheduler)
    adamc = sd.AdamC(parameters, lr=7.0, weight_decay=0.1)
    adamc.load_state_dict(adamw.state_dict())
    group = adamc.param_groups[0]
    assert (group["reference_lr"], group["weight_decay"], group["decay"]) == (0.02, 0.5, "corrected")
    assert group["lr"] == pytest.approx(0.01)
    train(adamc, range(5, 6))


def test_beta2_and_eps_are_checked_in_groups_too() -> None:
    for keys, message in [
        ({"betas": (0.9, 1.0)}, r"betas\[1\] is 1\.0; it must be in \[0, 1\)"),
        ({"eps": -1.0}, r"eps is -1\.0; it must be in \[0, inf\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            sd.AdamC(random_parameters((2,)), **keys)
        with pytest.raises(ValueError, match=message):
            sd.AdamC([{"params": random_parameters((2,)), **keys}])


def test_a_moving_tensor_lr_compiles_once() -> None:
    torch._dynamo.reset()
    counter = CompileCounter()
    parameters = random_parameters((4, 3), (6,), dtype=torch.float32)
    twins = [nn.Parameter(parameter.detach().clone()) for parameter in parameters]
    optimizer = sd.AdamC(parameters, lr=torch.tensor(0.1), weight_decay=0.5)
    eager = sd.AdamC(twins, lr=0.1, weight_decay=0.5)
    step, frames = torch.compile(optimizer.step, backend=counter), []
    for index in range(5):
        optimizer.param_groups[0]["lr"].fill_(0.1 * (1 - index / 5))
        eager.param_groups[0]["lr"] = 0.1 * (1 - index / 5)
        for parameter, gradient in zip(parameters, random_gradients(parameters, index), strict=True):
            parameter.grad = gradient
        step()
        frames.append(counter.frame_count)
        train(eager, range(index, index + 1))
    assert frames[0] >= 1
    assert frames[-1] == frames[0]
    assert_close(parameters, twins, 1e-5)


@pytest.mark.parametrize("mode", MODES[:-1], ids=MODE_NAMES[:-1])
def test_a_step_makes_the_operations_of_adamw_and_no_other(mode: dict[str, Any]) -> None:
    """So that it waits for a GPU where torch's does, and costs the same."""
    made = []
    for optimizer in steps_of(mode, "corrected"):
        train(optimizer, range(1))
        optimizer.param_groups[0]["lr"] = 0.01
        made.append(operations(optimizer.step))
    assert made[0] == made[1]
    assert made[0]


@pytest.mark.parametrize("mode", MODES[:4], ids=MODE_NAMES[:4])
@pytest.mark.parametrize("lr", [0.02, torch.tensor(0.02)], ids=["number", "tensor"])
def test_compensated_weights_may_be_cut_without_a_change_of_a_bit(
    mode: dict[str, Any], lr: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if mode.get("foreach") and isinstance(lr, torch.Tensor):
        lr = 0.01
    weights = []
    for sizes in (elementwise_batches.ON_CPU, Sizes(7, 3)):
        monkeypatch.setattr(elementwise_batches, "ON_CPU", sizes)
        parameters = random_parameters((40, 30), (17,), (), dtype=torch.bfloat16)
        optimizer = sd.AdamC(parameters, lr=lr, weight_decay=0.5, **mode)
        train(optimizer, range(4))
        weights.append([parameter.float() for parameter in parameters])
        assert all(optimizer.state[parameter]["compensation"].any() for parameter in parameters)
    assert same_bits(*weights)


def test_compensation_takes_memory_for_a_piece_of_a_weight() -> None:
    """Beside the zeros in place of the weight that torch's step moves."""
    weight = nn.Parameter(torch.ones(2**23).bfloat16())
    weight.grad = torch.ones_like(weight)
    optimizer = sd.AdamC([weight], fused=True)
    assert peak_bytes(optimizer.step) < 2**23 * (weight.element_size() + 2)
