"""Predictions from stored groups against those of the living optimizer."""

import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import steadydecay as sd
from steadydecay.groups.prediction import predicted_norm_sq, stepped_by
from steadydecay.inspection.stored_settings import stored_settings
from steadydecay.inspection.stored_weight import StoredWeight

STEPS = 20


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 4, bias=False))


def weights_of(model: nn.Module) -> list[StoredWeight]:
    return [StoredWeight(name, tuple(one.shape), "float32") for name, one in model.named_parameters()]


def grouped(model: nn.Module, kind: str, weight_decay: float = 0.3) -> list[dict[str, Any]]:
    return sd.param_groups(model, kind, lr=0.05, weight_decay=weight_decay)


def adam_with_the_verb(model: nn.Module) -> torch.optim.Optimizer:
    optimizer = torch.optim.AdamW(grouped(model, "adamw"))
    sd.correct_weight_decay(optimizer)
    return optimizer


def matrices(model: nn.Module) -> list[nn.Parameter]:
    return [one for one in model.parameters() if one.ndim == 2]


OPTIMIZERS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "Scion": lambda model: sd.Scion(grouped(model, "scion"), 0.05, nesterov=True),
    "ScionC": lambda model: sd.ScionC(grouped(model, "scion"), 0.05),
    "ScionC by norm": lambda model: sd.ScionC(grouped(model, "scion", weight_decay=0.0), 0.05, steady_norm_sq=0.5),
    "AdamW": lambda model: torch.optim.AdamW(grouped(model, "adamw")),
    "AdamW capturable": lambda model: torch.optim.AdamW(grouped(model, "adamw"), lr=torch.tensor(0.05)),
    "AdamC": lambda model: sd.AdamC(grouped(model, "adamw"), 0.05),
    "AdamW with the verb": adam_with_the_verb,
    "Lion": lambda model: sd.Lion(grouped(model, "lion"), 0.05, decay="corrected"),
    "Muon": lambda model: torch.optim.Muon(matrices(model), 0.05, weight_decay=0.3),
    "Muon as AdamW": lambda model: torch.optim.Muon(matrices(model), 0.05, adjust_lr_fn="match_rms_adamw"),
}


def trained(model: nn.Module, optimizer: torch.optim.Optimizer, to: float = 0.0) -> list[float]:
    """Steps down a line to a share of the peak; returns what the living optimizer predicts at the peak."""
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - (1 - to) * step / STEPS)
    at_peak = predictions(model, optimizer)
    for _ in range(STEPS):
        model(torch.randn(16, 6)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    return at_peak


def predictions(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[float]:
    """‖θ‖ of every parameter that the optimizer moves."""
    found: dict[int, float] = {}
    for group in optimizer.param_groups:
        momentum = stepped_by(optimizer, group)
        found |= {id(p): math.sqrt(predicted_norm_sq(group, tuple(p.shape), momentum)) for p in group["params"]}
    return [found[id(one)] for one in model.parameters() if id(one) in found and math.isfinite(found[id(one)])]


def inspected(model: nn.Module, optimizer: torch.optim.Optimizer, at: Any = "peak") -> list[float]:
    found = stored_settings([optimizer.state_dict()], weights_of(model), at)
    return [found[one.name].predicted_norm(one.shape) for one in weights_of(model) if is_predicted(found, one)]


def is_predicted(found: dict[str, Any], weight: StoredWeight) -> bool:
    return weight.name in found and not found[weight.name].refusal


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_after_a_schedule_the_prediction_is_that_of_its_peak(name: str) -> None:
    model = network()
    optimizer = OPTIMIZERS[name](model)
    at_peak = trained(model, optimizer)
    assert float(optimizer.param_groups[0]["lr"]) == 0
    assert len(at_peak) >= 2
    assert inspected(model, optimizer) == pytest.approx(at_peak, rel=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_now_is_the_prediction_of_the_stored_lr(name: str) -> None:
    model = network()
    optimizer = OPTIMIZERS[name](model)
    trained(model, optimizer, to=0.25)
    assert inspected(model, optimizer, "now") == pytest.approx(predictions(model, optimizer), rel=1e-6)


@pytest.mark.parametrize("name", ["ScionC", "Lion"])
def test_a_momentum_that_was_scheduled_is_that_of_the_peak_too(name: str) -> None:
    model = network()
    optimizer = OPTIMIZERS[name](model)
    at_peak = trained(model, optimizer)
    for group in optimizer.param_groups:
        group |= {"betas": (0.5, 0.6)} if name == "Lion" else {"momentum": 0.5}
    assert inspected(model, optimizer) == pytest.approx(at_peak, rel=1e-6)


def test_adamw_with_a_small_decay_is_the_formula_of_the_paper() -> None:
    group = ADAM | {"lr": 1e-3, "weight_decay": 0.01, "initial_lr": 2e-3, "params": [0]}
    state = {"state": {0: {"exp_avg": torch.zeros(6, 8)}}, "param_groups": [group]}
    found = stored_settings([state], [StoredWeight("a.weight", (6, 8), "float32")], "peak")["a.weight"]
    # Appendix B: an RMS of √(γ/(2λ)).
    assert found.predicted_norm((6, 8)) == pytest.approx(math.sqrt(48 * 2e-3 / (2 * 0.01)), rel=1e-3)


def test_an_lr_of_zero_has_no_steady_state_now() -> None:
    model = network()
    optimizer = OPTIMIZERS["AdamW"](model)
    trained(model, optimizer)
    found = stored_settings([optimizer.state_dict()], weights_of(model), "now")
    assert "the lr in the file is 0, where nothing moves" in found["0.weight"].text


def test_the_line_names_the_lr_that_was_used() -> None:
    model = network()
    optimizer = OPTIMIZERS["ScionC"](model)
    trained(model, optimizer, to=0.5)
    found = stored_settings([optimizer.state_dict()], weights_of(model), "peak")
    expected = "Scion hidden: lr 0.05 (reference_lr, the peak; 0.025 in the file), decay 0.015 per step (corrected), "
    assert found["0.weight"].text == expected + "momentum 0.9, spectral norm, memory 33 steps"
    assert not found["0.weight"].falls_with_lr and found["1.weight"].falls_with_lr
    now = stored_settings([optimizer.state_dict()], weights_of(model), "now")
    assert "lr 0.025 (in the file)" in now["0.weight"].text


def test_a_vector_without_decay_says_so() -> None:
    model = network()
    optimizer = OPTIMIZERS["AdamW"](model)
    found = stored_settings([optimizer.state_dict()], weights_of(model), "peak")
    assert found["0.bias"].text == "AdamW vector: no prediction, no decay"


# Groups without names


def unnamed(model: nn.Module, *shares: list[int], **settings: Any) -> torch.optim.Optimizer:
    parameters = list(model.parameters())
    groups = [{"params": [parameters[i] for i in share], "weight_decay": 0.1 * n} for n, share in enumerate(shares)]
    optimizer = torch.optim.AdamW(groups, 1e-3, **settings)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return optimizer


def test_groups_without_names_are_matched_by_shape() -> None:
    model = network()
    found = stored_settings([unnamed(model, [1], [0, 2]).state_dict()], weights_of(model), "peak")
    assert {name: one.group["weight_decay"] for name, one in found.items()} == {
        "0.weight": 0.1,
        "0.bias": 0.0,
        "1.weight": 0.1,
    }


def test_a_shape_in_two_groups_of_different_settings_is_not_guessed() -> None:
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    assert stored_settings([unnamed(model, [0], [1]).state_dict()], weights_of(model), "peak") == {}
    same = unnamed(model, [0], [1])
    same.param_groups[0]["weight_decay"] = same.param_groups[1]["weight_decay"]
    assert len(stored_settings([same.state_dict()], weights_of(model), "peak")) == 2


def test_a_weight_that_no_group_names_has_no_settings() -> None:
    model = network()
    state = sd.AdamC(grouped(model, "adamw"), 0.05).state_dict()
    found = stored_settings([state], [*weights_of(model), StoredWeight("frozen", (8, 6), "float32")], "peak")
    assert "frozen" not in found and len(found) == 3


def test_tied_and_wrapped_names_find_their_group() -> None:
    state = sd.AdamC(grouped(network(), "adamw"), 0.05).state_dict()
    weights = [StoredWeight("module.0.weight", (8, 6), "float32"), StoredWeight("x", (4, 8), "float32", ("1.weight",))]
    assert list(stored_settings([state], weights, "peak")) == ["module.0.weight", "x"]


def test_groups_of_a_distributed_checkpoint_hold_names_for_numbers() -> None:
    groups = [ADAM | {"params": ["0.weight"]}, ADAM | {"params": ["1.weight"], "weight_decay": 0.2}]
    found = stored_settings([{"state": {}, "param_groups": groups}], weights_of(network()), "peak")
    assert {name: one.group["weight_decay"] for name, one in found.items()} == {"0.weight": 0.1, "1.weight": 0.2}


def prefixed(prefix: str, model: nn.Module) -> list[StoredWeight]:
    return [one._replace(name=f"{prefix}.{one.name}") for one in weights_of(model)]


def test_names_are_found_in_a_model_that_the_file_keeps_under_a_key() -> None:
    model = network()
    state = sd.AdamC(grouped(model, "adamw"), 0.05).state_dict()
    found = stored_settings([state], prefixed("net.module", model), "peak")
    expected = stored_settings([state], weights_of(model), "peak")
    assert {name: one.text for name, one in found.items()} == {
        f"net.module.{name}": one.text for name, one in expected.items()
    }


def test_names_that_two_networks_share_are_not_guessed() -> None:
    model = network()
    one, other = (sd.AdamC(grouped(model, "adamw", decay), 0.05).state_dict() for decay in (0.1, 0.2))
    both = [*prefixed("gen", model), *prefixed("disc", model)]
    assert list(stored_settings([one, other], both, "peak")) == ["gen.0.bias", "disc.0.bias"]
    assert len(stored_settings([one, one], both, "peak")) == 6


@pytest.mark.parametrize("copy", ["ema_model", "teacher.backbone", "g_ema"])
def test_copies_beside_the_weights_are_not_predicted(copy: str) -> None:
    model = network()
    state = unnamed(model, [0, 1, 2]).state_dict()
    assert len(stored_settings([state], prefixed("model", model), "peak")) == 3
    both = [*prefixed("model", model), *prefixed(copy, model)]
    assert stored_settings([state], both, "peak") == {}
    assert len(stored_settings([state, state], both, "peak")) == 6
    # Another network of other shapes takes nothing away.
    others = [StoredWeight("other", (3, 3), "float32")]
    assert len(stored_settings([state], [*prefixed("model", model), *others], "peak")) == 3


def test_named_groups_do_not_move_copies() -> None:
    model = network()
    state = sd.AdamC(grouped(model, "adamw"), 0.05).state_dict()
    found = stored_settings([state], [*weights_of(model), *prefixed("ema", model)], "peak")
    assert list(found) == [one.name for one in weights_of(model)]
    trained_one = sd.AdamC(grouped(model, "adamw"), 0.05)
    trained(model, trained_one)
    both = [*prefixed("model", model), *prefixed("ema", model)]
    assert stored_settings([trained_one.state_dict()], both, "peak") == {}


def test_a_weight_without_a_gradient_yet_may_have_any_shape() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    optimizer = torch.optim.AdamW(model.parameters())
    model[1](torch.ones(1, 4)).sum().backward()
    optimizer.step()
    assert len(stored_settings([optimizer.state_dict()], weights_of(model), "peak")) == 4


def test_two_optimizers_of_one_name_must_agree() -> None:
    model = network()
    one, other = (sd.AdamC(grouped(model, "adamw", decay), 0.05).state_dict() for decay in (0.1, 0.2))
    assert len(stored_settings([one, one], weights_of(model), "peak")) == 3
    # Vectors have no decay in either.
    assert list(stored_settings([one, other], weights_of(model), "peak")) == ["0.bias"]


def test_before_the_first_step_groups_that_agree_move_all() -> None:
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    found = stored_settings([optimizer.state_dict()], weights_of(model), "peak")
    assert {one.text for one in found.values()} == {
        "AdamW: lr 0.001 (in the file), decay 1e-05 per step, memory 50,000 steps"
    }
    assert len(found) == 3
    assert stored_settings([optimizer.state_dict()], weights_of(model)[:2], "peak") == {}
    groups = [{"params": [one], "lr": 0.1 * i} for i, one in enumerate(model.parameters(), 1)]
    assert stored_settings([torch.optim.AdamW(groups).state_dict()], weights_of(model), "peak") == {}


# What is not predicted


ADAM: dict[str, Any] = {"lr": 0.01, "weight_decay": 0.1, "betas": (0.9, 0.99), "eps": 1e-8}
SCION: dict[str, Any] = {"lr": 0.01, "weight_decay": 0.1, "momentum": 0.9, "nesterov": False, "norm": "spectral"}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "L2": (ADAM | {"decoupled_weight_decay": False}, "its decay is not lr · weight_decay independent of the gradient"),
    "its own correction": (ADAM | {"corrected_weight_decay": True}, "its decay is not lr · weight_decay"),
    "SGD": ({"lr": 0.1, "weight_decay": 0.1, "momentum": 0.9}, "the size of SGD's updates depends on the gradients"),
    "hyperball": (ADAM | {"decay_replacement": "hyperball"}, "hyperball takes the place of the decay"),
    "an unknown optimizer": ({"lr": 0.1, "rho": 0.9}, r"unknown optimizer: no .* match no known optimizer \(lr, rho\)"),
    "no weight_decay": ({"lr": 0.1, "betas": (0.9, 0.99)}, "its group has no lr or no weight_decay"),
    "a decay of 2": (ADAM | {"weight_decay": 200.0}, r"values out of range \(decay is 2.0; it must be in \[0, 1\)"),
    "an unknown norm": (SCION | {"norm": "round"}, "values out of range .norm is 'round'"),
    "a norm of nothing": (SCION | {"norm": 3.5}, "values out of range"),
    "a norm for kernels": (SCION | {"norm": "spectral_conv"}, "values out of range"),
    "an lr of text": (ADAM | {"lr": "fast"}, "its group has no lr"),
    "a peak of text": (ADAM | {"reference_lr": "fast"}, "its reference_lr is not a number"),
    "a peak of several": (ADAM | {"max_lr": (0.1, 0.2)}, "its max_lr is not a number"),
    "an lr beyond floats": (ADAM | {"lr": 10**400}, "its group has no lr"),
    "an lr that is not a number": (ADAM | {"lr": math.nan}, "values out of range"),
    "a momentum of 1": (SCION | {"momentum": 1.0}, "values out of range|updates depends on the gradients"),
    "tensors": (ADAM | {"lr": torch.ones(3)}, "its group has no lr"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_predicted_says_why(case: str) -> None:
    group, message = REFUSED[case]
    state = {"state": {0: {"exp_avg": torch.zeros(3, 4)}}, "param_groups": [group | {"params": [0]}]}
    found = stored_settings([state], [StoredWeight("a.weight", (3, 4), "float32")], "peak")["a.weight"]
    assert math.isnan(found.predicted_norm((3, 4))) and math.isnan(found.decay) and math.isnan(found.memory)
    assert re.search(message, found.text), found.text


@pytest.mark.parametrize("groups", [[], [3], [{"params": 3}], [{"params": [0, 1], "param_names": 5, "betas": ()}]])
def test_groups_of_nonsense_move_nothing(groups: list[Any]) -> None:
    weights = [StoredWeight("a.weight", (3, 4), "float32")]
    for state in ({}, None, {0: 3}, {0: {"m": torch.zeros(2)}}):
        assert stored_settings([{"state": state, "param_groups": groups}], weights, "peak") == {}
