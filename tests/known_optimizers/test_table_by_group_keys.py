"""Optimizers that cannot be installed here, from the group keys and attributes that their sources have."""

import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

import steadydecay as sd
from steadydecay.known_optimizers.decay_action import decay_action
from steadydecay.known_optimizers.table import ADAM, DION_LION, MUON, known_optimizer
from steadydecay.theory import exponential_average, lion_average, nesterov_average


def optimizer_of(package: str, name: str, attributes: dict[str, Any] | None = None, **keys: Any) -> Optimizer:
    """A class of that package and name, with the groups and attributes of the real one, whose step does nothing."""
    kind = type(name, (Optimizer,), {"__module__": f"{package}.module", "step": lambda self, closure=None: None})
    group = {"params": [nn.Parameter(torch.ones(4, 3))], "lr": 0.1, "weight_decay": 0.5, "role": "hidden", **keys}
    optimizer = kind([group], {})
    for attribute, value in (attributes or {}).items():
        setattr(optimizer, attribute, value)
    return optimizer


DION: dict[str, Any] = {"mu": 0.9, "beta1": 0.8, "beta2": 0.95, "nesterov": False, "epsilon": 1e-8, "flatten": False}
NESTEROV_DION: dict[str, Any] = DION | {"nesterov": True}
TORCHTITAN: dict[str, Any] = {"momentum": 0.9, "nesterov": True, "ns_steps": 5, "adjust_lr_fn": None, "eps": 1e-7}


@pytest.mark.parametrize(
    ("optimizer", "filter_"),
    [
        (optimizer_of("dion", "Muon", **DION, algorithm="muon", adjust_lr="spectral_norm"), exponential_average(0.9)),
        (optimizer_of("dion", "NorMuon", **DION, algorithm="normuon"), exponential_average(0.9)),
        (optimizer_of("dion", "Muon", **NESTEROV_DION, algorithm="muon"), nesterov_average(0.9)),
        (optimizer_of("dion", "Muon", **DION, algorithm="adamw"), exponential_average(0.0)),
        (optimizer_of("dion", "Muon", **DION, algorithm="lion"), lion_average(0.8, 0.95)),
        (optimizer_of("torchtitan", "DistributedMuon", **TORCHTITAN), nesterov_average(0.9)),
        (optimizer_of("emerging_optimizers", "Muon", {"nesterov": False}, momentum=0.9), exponential_average(0.9)),
        (optimizer_of("emerging_optimizers", "Muon", {"nesterov": True}, momentum=0.9), nesterov_average(0.9)),
    ],
)
def test_the_momentum(optimizer: Optimizer, filter_: Any) -> None:
    (group,) = optimizer.param_groups
    known = known_optimizer(optimizer, group)
    assert known is not None and known.of(group) == filter_
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sd.correct_weight_decay(optimizer)


def test_a_group_that_dion_hands_over() -> None:
    entries = {}
    for algorithm in ("muon", "adamw", "lion"):
        optimizer = optimizer_of("dion", "Muon", **DION, algorithm=algorithm)
        entries[algorithm] = known_optimizer(optimizer, optimizer.param_groups[0])
    assert entries["muon"] is not None and entries["muon"].sized_by == MUON.sized_by
    assert (entries["adamw"], entries["lion"]) == (ADAM, DION_LION)


def test_a_momentum_schedule_writes_the_key_that_dion_reads() -> None:
    optimizer = optimizer_of("dion", "Muon", **DION, algorithm="muon")
    scheduler = sd.EffectiveLR(optimizer, "linear", steps=10, via="momentum")
    optimizer.step()
    scheduler.step()
    (group,) = optimizer.param_groups
    assert 0 < group["mu"] < 0.9
    assert "momentum" not in group
    assert sd.theory.effective_lr(0.1, group["mu"]) == pytest.approx(0.9 * sd.theory.effective_lr(0.1, 0.9))


@pytest.mark.parametrize("nesterov", [False, True])
def test_a_momentum_schedule_knows_nesterov_from_the_object(nesterov: bool) -> None:
    optimizer = optimizer_of("emerging_optimizers", "Muon", {"nesterov": nesterov}, momentum=0.9)
    scheduler = sd.EffectiveLR(optimizer, "linear", steps=10, via="momentum")
    optimizer.step()
    scheduler.step()
    beta = optimizer.param_groups[0]["momentum"]
    wanted = 0.9 * sd.theory.effective_lr(0.1, 0.9, nesterov)
    assert sd.theory.effective_lr(0.1, beta, nesterov) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("optimizer", "action", "message"),
    [
        (
            optimizer_of("emerging_optimizers", "Muon", {"weight_decay_method": "palm"}, momentum=0.9),
            "corrected",
            r"group 0 of Muon has weight_decay_method='palm': the optimizer corrects the decay itself, .* lr³; use "
            r"weight_decay_method='decoupled'",
        ),
        (
            optimizer_of("emerging_optimizers", "Muon", {"weight_decay_method": "independent"}, momentum=0.9),
            "independent",
            "weight_decay_method='independent': the decay does not follow the lr",
        ),
        (
            optimizer_of("emerging_optimizers", "Lion", {"weight_decay_method": "l2"}, betas=(0.9, 0.99)),
            "l2",
            r"weight_decay=0\.5, .* as L2, .* use weight_decay_method='decoupled'",
        ),
        (
            optimizer_of("elsewhere", "Novel", {"corrected_weight_decay": True}),
            "corrected",
            "corrected_weight_decay=True: the optimizer corrects the decay itself",
        ),
    ],
)
def test_an_attribute_of_the_object_that_says_how_it_decays(optimizer: Optimizer, action: str, message: str) -> None:
    (group,) = optimizer.param_groups
    before = dict(group)
    assert decay_action(optimizer, group).action == action
    with pytest.raises(ValueError, match=message):
        sd.correct_weight_decay(optimizer)
    assert dict(group) == before


def test_decoupled_by_an_attribute_is_corrected() -> None:
    optimizer = optimizer_of("emerging_optimizers", "Muon", {"weight_decay_method": "decoupled"}, momentum=0.9)
    sd.correct_weight_decay(optimizer)
    optimizer.param_groups[0]["lr"] = 0.05
    optimizer.step()
    assert optimizer.param_groups[0]["weight_decay"] == pytest.approx(0.25)


@pytest.mark.parametrize("keys", [{"cautious_wd": True}, {"cautious_weight_decay": True}])
def test_a_decay_that_is_cautious_already_follows_the_schedule(keys: dict[str, Any]) -> None:
    """λ_t by the schedule, applied by the optimizer where it does not fight the update."""
    optimizer = optimizer_of("dion", "Muon", **DION, algorithm="muon", **keys)
    assert decay_action(optimizer, optimizer.param_groups[0]).action == "cautious"
    sd.correct_weight_decay(optimizer)
    optimizer.param_groups[0]["lr"] = 0.05
    optimizer.step()
    assert optimizer.param_groups[0]["weight_decay"] == pytest.approx(0.25)
