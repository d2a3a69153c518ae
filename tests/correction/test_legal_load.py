"""What a state dict or a loop may have left that a corrected step must refuse before any weight moves."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import steadydecay as sd

Build = Callable[[list[dict[str, Any]]], torch.optim.Optimizer]
BUILDS: dict[str, Build] = {
    "adamw": lambda groups: torch.optim.AdamW(groups, 1e-2, weight_decay=0.1),
    "adamw_foreach": lambda groups: torch.optim.AdamW(groups, 1e-2, weight_decay=0.1, foreach=True),
    "muon": lambda groups: torch.optim.Muon(groups, 1e-2, weight_decay=0.1),
    "lion": lambda groups: sd.Lion(groups, 1e-2, weight_decay=0.1),
    "scionc": lambda groups: sd.ScionC(groups, 1e-2, weight_decay=0.1),
    "adamc": lambda groups: sd.AdamC(groups, 1e-2, weight_decay=0.1),
    "sgdw": lambda groups: sd.SGDW(groups, 1e-2, 0.9, weight_decay=0.1),
    "renormalized": lambda groups: sd.RenormalizedAdamW(groups, 1e-2, weight_decay=0.1),
}
FOREIGN = ["adamw", "adamw_foreach", "muon"]
RULES: list[Any] = ["corrected", "exact", "cautious", "hyperball", ("corrected", "cautious")]


def two_groups(name: str, seed: int = 0) -> torch.optim.Optimizer:
    torch.manual_seed(seed)
    named = [[(f"layer.{index}", nn.Parameter(torch.randn(4, 3)))] for index in range(2)]
    return BUILDS[name]([{"params": of_group, "role": "hidden"} for of_group in named])


def weights(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def step(optimizer: torch.optim.Optimizer) -> None:
    for parameter in weights(optimizer):
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()


def assert_refused(optimizer: torch.optim.Optimizer, message: str) -> None:
    """The next step raises, and no weight, no state and no number of a group is another."""
    held = copy.deepcopy((weights(optimizer), optimizer.state_dict()))
    with pytest.raises(ValueError, match=message):
        step(optimizer)
    now = (weights(optimizer), optimizer.state_dict())
    assert all(torch.equal(one, other) for one, other in zip(held[0], now[0], strict=True))
    assert str(held[1]) == str(now[1])


NUMBERS: list[tuple[str, Any, str]] = [
    ("lr", math.nan, r"lr of group 1 is nan; it must be in \[0, inf\): check the schedule or the loop"),
    ("lr", math.inf, r"lr of group 1 is inf; it must be in \[0, inf\)"),
    ("lr", -math.inf, r"lr of group 1 is -inf"),
    ("lr", -0.5, r"lr of group 1 is -0\.5; it must be in \[0, inf\)"),
    ("lr", "0.1", r"lr of group 1 is '0\.1'; it must be in \[0, inf\)"),
    ("weight_decay", math.nan, r"weight_decay of group 1 is nan"),
]


@pytest.mark.parametrize(("key", "value", "message"), NUMBERS)
@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("name", FOREIGN)
def test_the_verb_refuses_an_illegal_number(name: str, rule: Any, key: str, value: Any, message: str) -> None:
    optimizer = two_groups(name)
    sd.correct_weight_decay(optimizer, rule)
    step(optimizer)
    optimizer.param_groups[1][key] = value
    assert_refused(optimizer, message)


@pytest.mark.parametrize("rule", ["corrected", "cautious", ("exact", "cautious")], ids=str)
@pytest.mark.parametrize("name", FOREIGN)
def test_the_verb_refuses_a_step_that_takes_more_than_the_weight(name: str, rule: Any) -> None:
    optimizer = two_groups(name)
    sd.correct_weight_decay(optimizer, rule)
    optimizer.param_groups[0]["lr"] = 1000.0
    assert_refused(optimizer, r"lr · weight_decay of group 0 is .*; it must be in \[0, 1\): .*lower lr or weight_decay")


@pytest.mark.parametrize("name", FOREIGN)
def test_the_verb_looks_at_groups_that_it_leaves_alone_too(name: str) -> None:
    optimizer = two_groups(name)
    sd.correct_weight_decay(optimizer, where=[0])
    step(optimizer)
    optimizer.param_groups[1]["lr"] = math.nan
    assert_refused(optimizer, "lr of group 1 is nan")


OWN: list[tuple[str, str, Any, str]] = [
    *((name, *numbers) for name in ("lion", "scionc", "adamc", "sgdw", "renormalized") for numbers in NUMBERS[:5]),
    (
        "lion",
        "lr",
        torch.ones(2),
        r"lr of group 1 is a tensor of shape \(2,\) and torch.float32; it must be in \[0, inf\)",
    ),
    ("adamc", "lr", torch.ones(4, 3), r"lr of group 1 is a tensor of shape \(4, 3\)"),
    ("scionc", "momentum", torch.zeros(3), r"momentum of group 1 is a tensor of shape \(3,\)"),
    ("lion", "lr", 1000.0, r"lr · weight_decay of group 1 is .*; it must be in \[0, 1\)"),
    ("adamc", "lr", 1000.0, r"lr · weight_decay of group 1 is 10000000\.0; it must be in \[0, 1\)"),
    ("scionc", "weight_decay", 200.0, r"lr · weight_decay of group 1 is 2\.0; it must be in \[0, 1\)"),
    ("sgdw", "weight_decay", math.nan, r"weight_decay of group 1 is nan"),
    ("scionc", "momentum", 1.0, r"momentum of group 1 is 1\.0; it must be in \[0, 1\)"),
    ("sgdw", "momentum", math.nan, r"momentum of group 1 is nan"),
    ("lion", "betas", (0.9, 1.5), r"momentum of group 1 is 1\.5"),
    ("adamc", "betas", (0.9, 1.0), r"betas\[1\] of group 1 is 1\.0; it must be in \[0, 1\)"),
    ("renormalized", "betas", (math.nan, 0.9), r"betas\[0\] of group 1 is nan"),
    ("adamc", "eps", math.nan, r"eps of group 1 is nan"),
    *((name, "weight_decay", None, "weight_decay of group 1 is None") for name in ("lion", "scionc", "adamc", "sgdw")),
    ("renormalized", "weight_decay", "0.1", r"weight_decay of group 1 is '0\.1'; it must be in \[0, inf\)"),
    ("adamc", "betas", (0.9,), r"betas of group 1 is \(0\.9,\); it must be two numbers"),
    ("renormalized", "betas", None, "betas of group 1 is None; it must be two numbers"),
    ("lion", "betas", (0.9,), r"reference_momentum of group 1 is .* while the momentum is \(0\.9,\)"),
    ("sgdw", "reference_momentum", (0.9, 0.99), r"reference_momentum of group 1 is \(0\.9, 0\.99\)"),
    ("scionc", "reference_lr", math.nan, r"reference_lr of group 1 is nan; it must be in \[0, inf\)"),
]


@pytest.mark.parametrize(("name", "key", "value", "message"), OWN)
def test_an_own_step_refuses_an_illegal_number(name: str, key: str, value: Any, message: str) -> None:
    optimizer = two_groups(name)
    step(optimizer)
    optimizer.param_groups[1][key] = value
    assert_refused(optimizer, message)


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("betas", (1.0, 0.99), r"betas\[0\] of group 1 is 1\.0; it must be in \[0, 1\)"),
        ("betas", (0.9,), r"betas of group 1 is \(0\.9,\); it must be two numbers"),
        ("eps", None, "eps of group 1 is None"),
    ],
)
def test_the_verb_refuses_numbers_that_torchs_adam_fails_on(rule: Any, key: str, value: Any, message: str) -> None:
    optimizer = two_groups("adamw")
    sd.correct_weight_decay(optimizer, rule)
    step(optimizer)
    optimizer.param_groups[1][key] = value
    assert_refused(optimizer, message)


@pytest.mark.parametrize("keys", [{"lr": torch.tensor(0.01)}, {"betas": (torch.tensor(0.9), torch.tensor(0.99))}])
def test_what_torchs_foreach_step_cannot_take_is_refused_before_any_weight_moves(keys: dict[str, Any]) -> None:
    optimizer = sd.AdamC(two_groups("adamc").param_groups, 1e-2, foreach=True)
    for group in optimizer.param_groups:
        group["foreach"] = True
    optimizer.param_groups[1].update(keys)
    assert_refused(
        optimizer, rf"{next(iter(keys))} of group 1 is .*tensor.*; it must be a number: torch's foreach step"
    )


@pytest.mark.parametrize("name", BUILDS)
def test_a_schedule_may_end_below_zero_by_rounding(name: str) -> None:
    optimizer = two_groups(name)
    if name in FOREIGN:
        sd.correct_weight_decay(optimizer)
    step(optimizer)
    optimizer.param_groups[1]["lr"] = -1e-18
    step(optimizer)
    assert all(weight.isfinite().all() for weight in weights(optimizer))


# --- loaded states ---


def saved_under_the_verb(name: str, rule: Any) -> dict[str, Any]:
    optimizer = two_groups(name, seed=1)
    sd.correct_weight_decay(optimizer, rule)
    step(optimizer)
    return copy.deepcopy(optimizer.state_dict())


def of_shape(key: str, *shape: int) -> Callable[[dict[str, Any]], Any]:
    return lambda state: state["state"][1].update({key: torch.zeros(shape)})


def holding(key: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda state: state["state"][1].update({key: value})


def without(*keys: str) -> Callable[[dict[str, Any]], Any]:
    return lambda state: [state["param_groups"][1].pop(key) for key in keys]


FAULTS: list[tuple[str, Any, Callable[[dict[str, Any]], Any], str]] = [
    ("adamw", "corrected", holding("exp_avg", None), "'exp_avg' .*'layer.1' .* is of type NoneType"),
    ("adamw_foreach", "exact", holding("exp_avg_sq", "x"), "'exp_avg_sq' .* is of type str"),
    ("adamw", "cautious", holding("exp_avg", [1.0]), "'exp_avg' .* is of type list"),
    ("muon", "corrected", holding("momentum_buffer", "x"), "'momentum_buffer' .* is of type str"),
    ("adamw", "corrected", of_shape("step", 4), r"'step' .* tensor of shape \(4,\)"),
    ("adamw", "corrected", without("decay"), "group 1 has a correction without 'decay'"),
    ("muon", "exact", without("decay", "reference_lr"), "group 1 has a correction without 'decay', 'reference_lr'"),
    ("adamw", "exact", without("betas"), "group 1 lacks 'betas'"),
    ("adamw_foreach", "hyperball", without("betas", "eps"), "group 1 lacks 'betas', 'eps'"),
    ("muon", "corrected", without("momentum"), "group 1 lacks 'momentum'"),
    ("adamw", "corrected", of_shape("exp_avg", 5, 3), r"'exp_avg' .*'layer.1' .*\(5, 3\); it must be .*\(4, 3\)"),
    ("adamw_foreach", "corrected", of_shape("exp_avg_sq", 3), r"'exp_avg_sq' .*\(3,\); it must be .*\(4, 3\)"),
    ("muon", "exact", of_shape("momentum_buffer", 3, 4), r"'momentum_buffer' .*\(3, 4\); it must be .*\(4, 3\)"),
    ("adamw", "cautious", lambda state: state["state"][1].pop("exp_avg_sq"), r"lacks 'exp_avg_sq'; it only has 'step'"),
    (
        "muon",
        "corrected",
        lambda state: state["param_groups"][1].pop("reference_lr"),
        r"group 1 has a correction without 'reference_lr'",
    ),
    (
        "adamw",
        "hyperball",
        lambda state: state["param_groups"][1]["hyperball_norms"].append(1.0),
        r"hyperball_norms of group 1 has 2 entries; it must have 1",
    ),
    (
        "adamw",
        "hyperball",
        lambda state: state["param_groups"][1].update(hyperball_norms=[-1.0]),
        r"a norm of hyperball_norms of group 1 is -1\.0",
    ),
    (
        "muon",
        "cautious",
        lambda state: state["param_groups"][1].pop("replaced_weight_decay"),
        "'replaced_weight_decay'",
    ),
]


@pytest.mark.parametrize("order", ["attached, then loaded", "loaded, then attached"])
@pytest.mark.parametrize(("name", "rule", "spoil", "message"), FAULTS)
def test_a_state_that_a_corrected_step_would_fail_on_is_refused(
    name: str, rule: Any, spoil: Callable[[dict[str, Any]], Any], message: str, order: str
) -> None:
    saved, optimizer = saved_under_the_verb(name, rule), two_groups(name)
    step(optimizer)
    spoil(saved)
    if order == "loaded, then attached":
        optimizer.load_state_dict(saved)
        with pytest.raises(ValueError, match=message):
            sd.correct_weight_decay(optimizer, rule)
    else:
        sd.correct_weight_decay(optimizer, rule)
        with pytest.raises(ValueError, match=message):
            optimizer.load_state_dict(saved)
        assert_refused(optimizer, message)


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("name", FOREIGN)
def test_a_whole_state_is_taken(name: str, rule: Any) -> None:
    optimizer = two_groups(name)
    sd.correct_weight_decay(optimizer, rule)
    optimizer.load_state_dict(saved_under_the_verb(name, rule))
    step(optimizer)


def test_a_weight_without_any_state_is_legal_as_in_torch() -> None:
    saved, optimizer = saved_under_the_verb("adamw", "corrected"), two_groups("adamw")
    del saved["state"][1]
    sd.correct_weight_decay(optimizer)
    optimizer.load_state_dict(saved)
    step(optimizer)
