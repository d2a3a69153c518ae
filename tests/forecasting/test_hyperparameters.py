"""Hyperparameters become the groups that the optimizers would have."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from steadydecay.forecasting.hyperparameters import PREDICTABLE, Hyperparameters, groups_of
from steadydecay.groups.prediction import applied_decay
from steadydecay.groups.settings import with_references
from steadydecay.known_optimizers.table import ADAMW, LION_ENTRY, MUON, SCION
from steadydecay.recipes.gpt.model import GPT
from steadydecay.recipes.gpt.recipe import gpt_recipe
from steadydecay.recipes.optimizers import OPTIMIZERS as TRAINED


def model() -> nn.Module:
    return GPT(16, layers=1, heads=1, width=8)


def named(**given: Any) -> Hyperparameters:
    return Hyperparameters(**({"optimizer": "scion", "lr": 0.1, "decay_per_step": 0.01} | given))


@pytest.mark.parametrize("name", PREDICTABLE)
def test_groups_are_those_of_the_optimizer_that_is_trained(name: str) -> None:
    """Everything that a decay or a norm depends on, for each parameter."""
    trained_model, recipe = model(), gpt_recipe("mini", name, {"output_lr": 0.3})
    optimizer = TRAINED[name](trained_model, recipe)
    names = {id(parameter): name for name, parameter in trained_model.named_parameters()}
    expected = {names[id(parameter)]: group for group in optimizer.param_groups for parameter in group["params"]}
    # Adam and Lion have one lr in the recipe.
    output_lr = 0.3 if name.startswith(("scion", "muon")) else None
    given = named(optimizer=name, lr=recipe.lr, output_lr=output_lr, decay_per_step=recipe.decay_per_step)
    found = {name: group for group, _ in groups_of(model(), given) for name in group["param_names"]}
    assert found.keys() == expected.keys()
    for parameter_name, group in found.items():
        asked = dict(expected[parameter_name])
        if asked.get("steady_norm_sq") is not None:
            # Training asks for an S, which is the recipe's decay at the peak.
            asked["weight_decay"] = applied_decay(asked, SCION) / asked["lr"]
        for key in ("lr", "weight_decay", "role", "norm", "momentum", "betas", "nesterov"):
            if key in asked:
                assert group[key] == pytest.approx(asked[key]), (parameter_name, key)


@pytest.mark.parametrize(("name", "momentum"), [("scion", SCION), ("adamc", ADAMW), ("lionc", LION_ENTRY)])
def test_momentum_is_read_as_the_optimizer_has_it(name: str, momentum: object) -> None:
    assert {found for _, found in groups_of(model(), named(optimizer=name))} == {momentum}


def test_muon_is_two_optimizers() -> None:
    found = {group["role"]: momentum for group, momentum in groups_of(model(), named(optimizer="muon"))}
    assert found == {"hidden": MUON, "output": ADAMW}


def test_momentum_and_betas_are_taken() -> None:
    scion = groups_of(model(), named(momentum=0.5, nesterov=True))
    assert {(group["momentum"], group["nesterov"]) for group, _ in scion} == {(0.5, True)}
    lion = groups_of(model(), named(optimizer="lion", momentum=0.5, beta2=0.7))
    assert {group["betas"] for group, _ in lion} == {(0.5, 0.7)}


def test_the_output_has_an_lr_of_its_own_and_the_same_decay_per_step() -> None:
    found = {group["role"]: group for group, _ in groups_of(model(), named(output_lr=0.5))}
    assert (found["hidden"]["lr"], found["output"]["lr"]) == (0.1, 0.5)
    assert all(group["lr"] * group["weight_decay"] == pytest.approx(0.01) for group in found.values())


def test_embeddings_have_the_outputs_lr() -> None:
    untied = nn.Sequential(nn.Embedding(8, 4), nn.Linear(4, 4), nn.Linear(4, 8))
    found = {group["role"]: group["lr"] for group, _ in groups_of(untied, named(output_lr=0.5))}
    assert found == {"embedding": 0.5, "hidden": 0.1, "output": 0.5, "vector": 0.1}


def test_a_weight_decay_is_the_same_everywhere() -> None:
    found = groups_of(model(), named(output_lr=0.5, decay_per_step=None, weight_decay=0.2))
    assert {group["weight_decay"] for group, _ in found} == {0.2}


def test_a_steady_norm_goes_to_all_that_decays() -> None:
    mixed = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    for name, has_norm in (("scion", {"vector": 9.0}), ("adamw", {"vector": None})):
        given = named(optimizer=name, decay_per_step=None, steady_norm_sq=9.0)
        found = {group["role"]: group.get("steady_norm_sq") for group, _ in groups_of(mixed, given)}
        assert found == {"hidden": 9.0, "output": 9.0} | has_norm
        for group, momentum in groups_of(mixed, given):
            with_references(group, {"decay": "corrected"}, momentum)


def test_a_model_on_the_meta_device_is_enough() -> None:
    with torch.device("meta"):
        on_meta = model()
    assert sum(len(group["params"]) for group, _ in groups_of(on_meta, named())) == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "scoin"}, "optimizer is 'scoin'; did you mean 'scion'"),
        ({"optimizer": "sgdw"}, "optimizer is 'sgdw', whose updates are as large as the gradients.*it must be one of"),
        (
            {"optimizer": "adam_l2"},
            "optimizer is 'adam_l2', whose L2 regularisation passes through the second moment.*it must be one of",
        ),
        ({"lr": -1.0}, r"lr is -1.0; it must be in \(0, inf\)"),
        ({"lr": 0.0}, r"lr is 0.0; it must be in \(0, inf\)"),
        ({"lr": math.nan}, "lr is nan"),
        ({"lr": math.inf}, "lr is inf"),
        ({"output_lr": -1.0}, "output_lr is -1.0"),
        ({"momentum": 1.0}, r"momentum is 1.0; it must be in \[0, 1\)"),
        ({"momentum": math.nan}, "momentum is nan"),
        ({"beta2": -0.1}, "beta2 is -0.1"),
        ({"decay_per_step": 1.0}, r"decay_per_step is 1.0; it must be in \[0, 1\)"),
        ({"decay_per_step": math.nan}, "decay_per_step is nan"),
        (
            {"decay_per_step": None},
            "no decay is given; give exactly one of weight_decay, decay_per_step and steady_norm_sq",
        ),
        ({"weight_decay": 0.1}, "weight_decay=0.1 and decay_per_step=0.01 are given; give exactly one"),
        ({"decay_per_step": None, "weight_decay": 10.0}, r"weight_decay is 10.0; it must be in \[0, 10.0\)"),
        (
            {"decay_per_step": None, "weight_decay": 3.0, "output_lr": 0.5},
            r"weight_decay is 3.0; it must be in \[0, 2.0\)",
        ),
        ({"decay_per_step": None, "weight_decay": -0.1}, "weight_decay is -0.1"),
        ({"optimizer": "adamw", "nesterov": True}, "nesterov is True for 'adamw'; it must be False"),
        ({"optimizer": "lion", "nesterov": True}, "nesterov is True for 'lion'; it must be False"),
    ],
)
def test_what_is_outside_its_range_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        groups_of(model(), named(**changes))


def test_every_trained_optimizer_is_forecast_or_refused_with_a_reason() -> None:
    for name in sorted(set(TRAINED) - {"renormalized_adamw"} - set(PREDICTABLE)):
        with pytest.raises(ValueError, match=f"optimizer is '{name}', (whose updates|whose L2|whose S)"):
            groups_of(model(), named(optimizer=name))
