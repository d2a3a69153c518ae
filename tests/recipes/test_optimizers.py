"""The optimizers by name: what each makes of the same fields of a recipe."""

from dataclasses import replace

import pytest
import torch

from steadydecay.groups.prediction import applied_decay, stepped_by
from steadydecay.groups.settings import decay_of
from steadydecay.optim.scion import Scion
from steadydecay.recipes.gpt.model import GPT
from steadydecay.recipes.gpt.recipe import gpt_recipe
from steadydecay.recipes.optimizers import OPTIMIZERS, require_trainable


def optimizer_of(name: str) -> torch.optim.Optimizer:
    settings = {"lr": 0.25, "output_lr": 0.5, "decay_per_step": 0.125, "momentum": 0.75}
    recipe = replace(gpt_recipe("mini", name, {}), **settings)
    return OPTIMIZERS[name](GPT(17, layers=2, heads=1, width=8), recipe)


def by_role(optimizer: torch.optim.Optimizer) -> dict[str, dict[str, object]]:
    return {group["role"]: group for group in optimizer.param_groups}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_parameter_is_in_one_group_and_every_layer_loses_the_same_share(name: str) -> None:
    optimizer = optimizer_of(name)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert len(parameters) == len({id(parameter) for parameter in parameters}) == 1 + 2 * 4
    assert {group["role"]: len(group["params"]) for group in optimizer.param_groups} == {"output": 1, "hidden": 8}
    for group in optimizer.param_groups:
        assert applied_decay(group, stepped_by(optimizer, group)) == pytest.approx(0.125, rel=1e-12)


def test_adamw_is_torch_s() -> None:
    optimizer = optimizer_of("adamw")
    assert type(optimizer) is torch.optim.AdamW
    for group in optimizer.param_groups:
        assert (group["lr"], group["betas"], group["weight_decay"]) == (0.25, (0.75, 0.95), 0.5)


@pytest.mark.parametrize(("name", "decay"), [("scion", "constant"), ("scionc", "corrected")])
def test_scion_has_a_norm_and_lr_of_its_own_per_role(name: str, decay: str) -> None:
    optimizer = optimizer_of(name)
    assert isinstance(optimizer, Scion)
    expected = {"hidden": (0.25, 0.5, "spectral", decay), "output": (0.5, 0.25, "sign", "constant")}
    for role, group in by_role(optimizer).items():
        assert (group["lr"], group["weight_decay"], group["norm"], group["decay"]) == expected[role]
        assert (group["momentum"], group["reference_lr"]) == (0.75, group["lr"])


@pytest.mark.parametrize(("name", "share"), [("scion", 1 / 2), ("scionc", 1 / 4)])
def test_at_half_the_lr_only_the_hidden_layers_of_scionc_decay_by_a_quarter(name: str, share: float) -> None:
    optimizer = optimizer_of(name)
    for group in optimizer.param_groups:
        group["lr"] /= 2
    groups = by_role(optimizer)
    assert decay_of(groups["hidden"]) == 0.125 * share
    assert decay_of(groups["output"]) == 0.125 / 2


@pytest.mark.parametrize(
    ("name", "message"),
    [("scionn", r"'scionn'; did you mean 'scion'\?"), ("xyz", r"'xyz'; it must be one of adamw, .*, scionc_cosine")],
)
def test_an_unknown_optimizer_is_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"^optimizer is {message}$"):
        require_trainable(name)
    for known in OPTIMIZERS:
        require_trainable(known)


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name not in ("adamw", "adam_l2")])
def test_a_corrected_optimizer_corrects_its_hidden_layers_alone(name: str) -> None:
    groups = by_role(optimizer_of(name))
    is_corrected = name in ("adamc", "lionc", "sgdc", "muonc", "scionc", "scionc_cosine")
    assert groups["hidden"]["decay"] == ("corrected" if is_corrected else "constant")
    assert groups["output"]["decay"] == "constant"


def test_adam_l2_puts_the_decay_into_the_gradient() -> None:
    optimizer = optimizer_of("adam_l2")
    assert type(optimizer) is torch.optim.Adam
    assert not optimizer.defaults["decoupled_weight_decay"]
