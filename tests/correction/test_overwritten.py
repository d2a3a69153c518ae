"""A schedule that writes the weight_decay of a corrected group hears that it has no effect, and nothing else does."""

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import steadydecay as sd

MATCH = r"weight_decay of group 1 was set to 0\.3 .*no effect.*group\['reference_weight_decay'\]"


def two_groups(weight_decay: Any = 0.1) -> torch.optim.AdamW:
    torch.manual_seed(0)
    groups = [{"params": [nn.Parameter(torch.randn(4, 3))], "role": "hidden"} for _ in range(2)]
    return torch.optim.AdamW(groups, 1e-2, weight_decay=weight_decay)


def step(optimizer: torch.optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.ones_like(parameter)
    optimizer.step()


@pytest.mark.parametrize("rule", ["corrected", "exact", "constant"])
def test_a_loop_that_writes_weight_decay_is_told_once_what_to_write(rule: Any) -> None:
    optimizer = two_groups()
    sd.correct_weight_decay(optimizer, rule, reference_lr=1e-2)
    step(optimizer)
    optimizer.param_groups[1]["weight_decay"] = 0.3
    with pytest.warns(UserWarning, match=MATCH):
        step(optimizer)
    optimizer.param_groups[0]["weight_decay"] = 0.4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(optimizer)


@pytest.mark.parametrize("rule", ["corrected", "exact"])
def test_what_the_warning_says_to_write_is_followed(rule: Any) -> None:
    optimizer = two_groups()
    sd.correct_weight_decay(optimizer, rule, reference_lr=1e-2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for coefficient in (0.1, 0.2, 0.3):
            optimizer.param_groups[1]["reference_weight_decay"] = coefficient
            step(optimizer)
            assert optimizer.param_groups[1]["weight_decay"] == pytest.approx(coefficient)


def load(optimizer: torch.optim.Optimizer) -> None:
    other = two_groups(0.3)
    sd.correct_weight_decay(other, reference_lr=1e-2)
    optimizer.load_state_dict(copy.deepcopy(other.state_dict()))


def add_a_group(optimizer: torch.optim.Optimizer) -> None:
    optimizer.add_param_group({"params": [nn.Parameter(torch.ones(3))], "role": "hidden", "reference_lr": 1e-2})


def halve_the_lr(optimizer: torch.optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        group["lr"] /= 2


@pytest.mark.parametrize("change", [load, add_a_group, halve_the_lr])
def test_nothing_is_said_of_what_is_no_schedule_of_weight_decay(change: Callable[[Any], None]) -> None:
    optimizer = two_groups()
    sd.correct_weight_decay(optimizer, reference_lr=1e-2)
    step(optimizer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        change(optimizer)
        step(optimizer)
        step(optimizer)


def test_a_tensor_is_not_looked_at() -> None:
    optimizer = two_groups()
    sd.correct_weight_decay(optimizer, reference_lr=1e-2)
    step(optimizer)
    optimizer.param_groups[1]["weight_decay"] = torch.tensor(0.3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(optimizer)
