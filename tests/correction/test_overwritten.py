"""A schedule that writes the weight_decay of a corrected group hears that it has no effect, and nothing else does."""

import copy
import math
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
    optimizer = two_groups(torch.tensor(0.1))
    sd.correct_weight_decay(optimizer, reference_lr=1e-2)
    step(optimizer)
    optimizer.param_groups[1]["weight_decay"] = torch.tensor(0.3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(optimizer)


KEYS = {
    "cautious": r"group\['replaced_weight_decay'\]",
    ("corrected", "cautious"): r"group\['replaced_weight_decay'\], the coefficient at reference_lr",
    "hyperball": r"has no decay, and holds the norms in group\['hyperball_norms'\]",
    "corrected": r"group\['reference_weight_decay'\], the coefficient at reference_lr",
}


@pytest.mark.parametrize("steps_before", [0, 1])
@pytest.mark.parametrize("written", [0.3, torch.tensor(0.3), "0.3", None])
@pytest.mark.parametrize(("rule", "remedy"), KEYS.items())
def test_what_a_loop_writes_has_no_effect_under_any_rule_and_is_told(
    rule: Any, remedy: str, written: Any, steps_before: int
) -> None:
    optimizer, untouched = two_groups(), two_groups()
    for one in (optimizer, untouched):
        sd.correct_weight_decay(one, rule, reference_lr=1e-2)
        for _ in range(steps_before):
            step(one)
    optimizer.param_groups[1]["weight_decay"] = copy.deepcopy(written)
    with pytest.warns(UserWarning, match=rf"weight_decay of group 1 was set to .*no effect.*{remedy}"):
        step(optimizer)
    step(untouched)
    step(optimizer)
    step(untouched)
    for group, other in zip(optimizer.param_groups, untouched.param_groups, strict=True):
        torch.testing.assert_close(group["params"][0], other["params"][0], rtol=0, atol=1e-7)


def test_a_replaced_decay_that_a_loop_writes_where_it_is_told_is_followed() -> None:
    optimizer, stronger = two_groups(0.1), two_groups(0.3)
    sd.correct_weight_decay(optimizer, "cautious")
    sd.correct_weight_decay(stronger, "cautious")
    for group in optimizer.param_groups:
        group["replaced_weight_decay"] = 0.3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(optimizer)
    step(stronger)
    assert torch.equal(optimizer.param_groups[0]["params"][0], stronger.param_groups[0]["params"][0])


@pytest.mark.parametrize("norms", [None, 1.0, "1", [1.0, 2.0], [None, None], ["x"], [math.nan], [-1.0]])
def test_norms_that_a_loop_spoils_move_no_weight(norms: Any) -> None:
    optimizer = two_groups()
    sd.correct_weight_decay(optimizer, "hyperball")
    before = copy.deepcopy(optimizer.param_groups[0]["params"][0])
    optimizer.param_groups[1]["hyperball_norms"] = norms
    with pytest.raises(ValueError, match=r"hyperball_norms of group 1 .*must"):
        step(optimizer)
    assert torch.equal(optimizer.param_groups[0]["params"][0], before)


@pytest.mark.parametrize("where", [0.5, math.nan, torch.tensor([0, 1]), torch.tensor(0.5), object(), True, [[0]], 1j])
def test_a_where_of_another_type_is_refused_and_changes_nothing(where: Any) -> None:
    optimizer = two_groups()
    with pytest.raises((TypeError, ValueError), match=r"where has .*must"):
        sd.correct_weight_decay(optimizer, where=where)
    assert all(group.keys() == two_groups().param_groups[0].keys() for group in optimizer.param_groups)


@pytest.mark.parametrize("rule", [None, 3, ["corrected", 3], [["corrected"]], {"corrected"}, b"corrected", len, ()])
def test_a_rule_of_another_type_is_refused_and_changes_nothing(rule: Any) -> None:
    optimizer = two_groups()
    with pytest.raises(ValueError, match=r"rule is .*must"):
        sd.correct_weight_decay(optimizer, rule)
    assert all(group.keys() == two_groups().param_groups[0].keys() for group in optimizer.param_groups)


@pytest.mark.parametrize("value", ["1e-2", b"1", [1e-2], torch.ones(1), 1j, object(), math.nan, -1.0])
@pytest.mark.parametrize("key", ["lr", "weight_decay", "max_lr", "initial_lr", "reference_lr"])
def test_a_group_with_another_value_is_refused_and_changes_nothing(key: str, value: Any) -> None:
    optimizer = two_groups()
    optimizer.param_groups[1][key] = value
    keys = [set(group) for group in optimizer.param_groups]
    with pytest.raises(ValueError, match=r"(lr|weight_decay).* is .*must"):
        sd.correct_weight_decay(optimizer)
    assert [set(group) for group in optimizer.param_groups] == keys
