"""λ by the schedule and cautious at once, and the hyperball of each matrix in a stack or a fused weight."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

import steadydecay as sd
from steadydecay.correction.cautious import cautious_decay
from steadydecay.correction.rules import ChosenRule, chosen_rule
from steadydecay.theory import Reference, exponential_average, weight_decay

LR, DECAY, STEPS = 0.1, 0.5, 30
BUILDS: dict[str, Any] = {
    "AdamW": lambda params, lam: torch.optim.AdamW(params, lr=LR, weight_decay=lam),
    "Muon": lambda params, lam: torch.optim.Muon(params, lr=LR, weight_decay=lam, momentum=0.9, nesterov=False),
    "Scion": lambda params, lam: sd.Scion(params, lr=LR, weight_decay=lam),
    "ScionC": lambda params, lam: sd.ScionC(params, lr=LR, weight_decay=lam),
}
PAIR = ("corrected", "cautious")


def correct(optimizer: Optimizer, rule: Any = PAIR) -> Any:
    return sd.correct_weight_decay(optimizer, rule, where=lambda group: True)


def weight_of(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64))


def give_gradient(parameter: nn.Parameter, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)


def lr_at(step: int) -> float:
    return LR * 0.5 * (1 + math.cos(math.pi * step / STEPS))


def momentum_at(step: int) -> float:
    return 0.9 - 0.02 * step


def set_schedule(optimizer: Optimizer, step: int) -> None:
    (group,) = optimizer.param_groups
    group["lr"] = lr_at(step)
    if "momentum" in group:
        group["momentum"] = momentum_at(step)


@pytest.mark.parametrize("name", BUILDS)
def test_the_pair_equals_its_two_parts(name: str) -> None:
    """A step without decay, then λ_t of the rule where it does not fight the step; the momentum moves as well."""
    parameter, plain_parameter = weight_of(8, 6), weight_of(8, 6)
    optimizer, plain = BUILDS[name]([parameter], DECAY), BUILDS[name]([plain_parameter], 0.0)
    handle = correct(optimizer)
    start = exponential_average(0.0 if name == "AdamW" else 0.9)
    reference = Reference(LR, DECAY, start)
    coefficients = []
    for step in range(STEPS):
        for one, moved in ((optimizer, parameter), (plain, plain_parameter)):
            set_schedule(one, step)
            give_gradient(moved, step)
        before = plain_parameter.detach().clone()
        momentum = exponential_average(0.0 if name == "AdamW" else momentum_at(step))
        coefficients.append(weight_decay(lr_at(step), momentum, False, reference, "corrected"))
        optimizer.step()
        plain.step()
        with torch.no_grad():
            plain_parameter.sub_(cautious_decay(before, plain_parameter, lr_at(step) * coefficients[-1]))
        torch.testing.assert_close(parameter, plain_parameter, rtol=1e-10, atol=1e-12)
    assert coefficients[0] == DECAY and coefficients[-1] < 0.1 * DECAY
    before_removal = parameter.detach().clone()
    handle.remove()
    assert optimizer.param_groups[0]["weight_decay"] == DECAY
    assert torch.equal(parameter, before_removal)


@pytest.mark.parametrize("name", BUILDS)
def test_removing_the_pair_restores_every_key(name: str) -> None:
    optimizer = BUILDS[name]([weight_of(4, 3)], DECAY)
    before = {key: value for key, value in optimizer.param_groups[0].items() if key != "params"}
    handle = correct(optimizer)
    give_gradient(optimizer.param_groups[0]["params"][0], 0)
    optimizer.step()
    handle.remove()
    assert {key: value for key, value in optimizer.param_groups[0].items() if key != "params"} == before


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", BUILDS)
def test_a_run_of_the_pair_resumes_bitwise(name: str, when: str) -> None:
    parameter = weight_of(6, 4)
    optimizer = BUILDS[name]([parameter], DECAY)
    correct(optimizer)
    saved: Any = None
    for step in range(20):
        if step == 10:
            saved = copy.deepcopy((optimizer.state_dict(), parameter.detach()))
        set_schedule(optimizer, step)
        give_gradient(parameter, step)
        optimizer.step()
    resumed = nn.Parameter(saved[1].clone())
    other = BUILDS[name]([resumed], 0.125)
    if when == "before":
        correct(other)
    other.load_state_dict(saved[0])
    if when == "after":
        correct(other)
    for step in range(10, 20):
        set_schedule(other, step)
        give_gradient(resumed, step)
        other.step()
    assert torch.equal(resumed, parameter)


def test_the_pair_at_lr_zero_and_without_gradient_changes_no_bit() -> None:
    parameter = weight_of(4, 3)
    optimizer = BUILDS["AdamW"]([parameter], DECAY)
    correct(optimizer)
    before = parameter.detach().clone()
    optimizer.param_groups[0]["lr"] = 0.0
    optimizer.step()
    give_gradient(parameter, 0)
    optimizer.step()
    assert torch.equal(parameter, before)
    # Its reference is found at the first step with an lr.
    optimizer.param_groups[0].update(lr=0.01, initial_lr=0.2)
    optimizer.step()
    assert optimizer.param_groups[0]["reference_lr"] == 0.2


def test_a_tensor_lr_makes_no_difference() -> None:
    ends = []
    for as_lr in (float, torch.tensor):
        parameter = weight_of(4, 3)
        optimizer = BUILDS["AdamW"]([parameter], DECAY)
        correct(optimizer)
        for step in range(5):
            optimizer.param_groups[0]["lr"] = as_lr(lr_at(step))
            give_gradient(parameter, step)
            optimizer.step()
        ends.append(parameter.detach())
    torch.testing.assert_close(*ends, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rule", [("corrected", "cautious"), ["cautious", "corrected"]])
def test_the_order_of_the_pair_is_free(rule: Any) -> None:
    assert chosen_rule(rule) == ChosenRule("corrected", "cautious")


@pytest.mark.parametrize(
    "rule",
    [
        "correct",
        (),
        ("corrected", "exact"),
        ("cautious", "hyperball"),
        ("corrected", "hyperball"),
        ("corrected", "cautious", "exact"),
        ("corrected", "other"),
    ],
)
def test_rules_that_exclude_each_other_are_refused(rule: Any) -> None:
    optimizer = BUILDS["AdamW"]([weight_of(2, 2)], DECAY)
    before = dict(optimizer.param_groups[0])
    with pytest.raises(ValueError, match=r"decay rule is .*; it must be one of 'constant', .*, or a pair such as"):
        correct(optimizer, rule)
    assert dict(optimizer.param_groups[0]) == before


# --- the hyperball of each matrix ---


def matrix_norms(parameter: nn.Parameter, split: int) -> list[float]:
    return [float(part.norm()) for part in parameter.detach().chunk(split, dim=-2 if parameter.ndim == 2 else 0)]


STACK = {"role": "hidden", "param_names": ["blocks.0.attention.qkv"]}
FUSED: dict[str, Any] = {"role": "hidden", "param_names": ["blocks.0.attn.qkv.weight"]}
SPLIT: dict[str, Any] = {"norm": {"name": "spectral", "split_sizes": (4, 4, 4)}, "role": "hidden"}


@pytest.mark.parametrize(
    ("build", "shape", "keys"),
    [
        (lambda groups: torch.optim.AdamW(groups, lr=LR, weight_decay=DECAY), (3, 4, 4), STACK),
        (lambda groups: torch.optim.AdamW(groups, lr=LR, weight_decay=DECAY), (12, 4), FUSED),
        (lambda groups: sd.Scion(groups, lr=LR, weight_decay=DECAY), (12, 4), SPLIT),
        (lambda groups: sd.Scion(groups, lr=LR, weight_decay=DECAY, norm="spectral"), (3, 4, 4), {}),
    ],
)
def test_each_matrix_of_a_stack_or_a_fused_weight_holds_its_own_norm(build: Any, shape: Any, keys: Any) -> None:
    parameter = weight_of(*shape)
    with torch.no_grad():
        for factor, part in zip((1.0, 3.0, 0.5), parameter.chunk(3, dim=0), strict=True):
            part.mul_(factor)
    optimizer = build([{"params": [parameter], **keys}])
    before = matrix_norms(parameter, 3)
    correct(optimizer, "hyperball")
    assert optimizer.param_groups[0]["hyperball_norms"] == [pytest.approx(before)]
    for step in range(10):
        give_gradient(parameter, step)
        optimizer.step()
        assert matrix_norms(parameter, 3) == pytest.approx(before, rel=1e-12)


def test_query_key_and_value_side_by_side_as_gpt2_has_them() -> None:
    parameter = weight_of(4, 12)
    names = {"role": "hidden", "param_names": ["h.0.attn.c_attn.weight"]}
    optimizer = torch.optim.AdamW([{"params": [parameter], **names}], lr=LR)
    before = [float(part.norm()) for part in parameter.detach().chunk(3, dim=1)]
    correct(optimizer, "hyperball")
    give_gradient(parameter, 0)
    optimizer.step()
    assert [float(part.norm()) for part in parameter.detach().chunk(3, dim=1)] == pytest.approx(before, rel=1e-12)


def test_one_number_holds_all_of_a_stack_and_a_list_must_fit() -> None:
    parameter = weight_of(3, 4, 4)
    whole = {"params": [parameter], **STACK, "hyperball_norms": [5.0]}
    optimizer = torch.optim.AdamW([whole], lr=LR)
    correct(optimizer, "hyperball")
    give_gradient(parameter, 0)
    optimizer.step()
    assert float(parameter.detach().norm()) == pytest.approx(5.0)
    short = {"params": [weight_of(3, 4, 4)], **STACK, "hyperball_norms": [[1.0, 2.0]]}
    with pytest.raises(ValueError, match="has a list of 2; it must have 3 numbers, one for each matrix"):
        correct(torch.optim.AdamW([short], lr=LR), "hyperball")


def test_a_stack_that_is_not_contiguous_is_held_too() -> None:
    parameter = nn.Parameter(weight_of(4, 4, 3).detach().permute(2, 0, 1))
    optimizer = torch.optim.AdamW([{"params": [parameter], **STACK}], lr=LR)
    before = [float(part.norm()) for part in parameter.detach()]
    correct(optimizer, "hyperball")
    give_gradient(parameter, 0)
    optimizer.step()
    assert [float(part.norm()) for part in parameter.detach()] == pytest.approx(before, rel=1e-12)


def test_the_kernel_of_a_convolution_is_one_matrix() -> None:
    parameter = weight_of(4, 3, 2)
    optimizer = torch.optim.AdamW([{"params": [parameter], "role": "conv"}], lr=LR)
    correct(optimizer, "hyperball")
    assert optimizer.param_groups[0]["hyperball_norms"] == [pytest.approx(float(parameter.detach().norm()))]
