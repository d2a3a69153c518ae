"""Predictions from options: those of real optimizers with these settings, and an error for each mistake."""

import math
from typing import Any

import pytest
import torch
from torch import nn

import steadydecay as sd
from steadydecay.groups.prediction import predicted_norm_sq, stepped_by
from steadydecay.inspection.given_settings import GivenSettings
from steadydecay.inspection.module_skeleton import guesses
from steadydecay.inspection.stored_weight import StoredWeight
from steadydecay.known_optimizers.table import MUON
from steadydecay.recipes.gpt.model import GPT


def model() -> nn.Module:
    return GPT(32, 2, 2, 16)


def predicted(given: GivenSettings) -> dict[str, float]:
    found = {one.name: (one, guess) for one, guess in _guessed()}
    return {name: given.settings_of(guess, one.shape).predicted_norm(one.shape) for name, (one, guess) in found.items()}


def _guessed() -> list[Any]:
    names = [(name, tuple(p.shape)) for name, p in model().named_parameters()]
    weights = [StoredWeight(n, s, "float32", ("lm_head.weight",) if "embedding" in n else ()) for n, s in names]
    found = guesses(weights, in_model_order=True)
    return [(one, found[one.name]) for one in weights]


def of_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    return {
        name: math.sqrt(predicted_norm_sq(group, tuple(p.shape), stepped_by(optimizer, group)))
        for group in optimizer.param_groups
        for name, p in zip(group["param_names"], group["params"], strict=True)
    }


def same(found: dict[str, float], expected: dict[str, float]) -> None:
    assert found.keys() == expected.keys()
    assert found == pytest.approx(expected, rel=1e-12)


def test_scion_with_an_lr_for_the_output() -> None:
    lr = {"hidden": 0.03, "output": 0.6}
    decay = {role: 0.015 / own for role, own in lr.items()}
    optimizer = sd.ScionC(sd.param_groups(model(), "scion", lr=lr, weight_decay=decay), 0.03, 0.95)
    same(
        predicted(GivenSettings(0.03, decay=0.015, optimizer="scion", output_lr=0.6, momentum=0.95)),
        of_optimizer(optimizer),
    )


def test_scion_with_nesterov_momentum_and_another_norm() -> None:
    groups = sd.param_groups(model(), "scion", lr=0.03, weight_decay=0.5, overrides={"blocks.*": {"norm": "col_norm"}})
    optimizer = sd.Scion(groups, 0.03, nesterov=True)
    given = GivenSettings(0.03, 0.5, optimizer="scion", nesterov=True, norm="col_norm")
    same(predicted(given), of_optimizer(optimizer))


def test_adamw_is_the_default() -> None:
    optimizer = torch.optim.AdamW(sd.param_groups(model(), "adamw", lr=2e-3, weight_decay=0.1))
    same(predicted(GivenSettings(2e-3, 0.1)), of_optimizer(optimizer))
    same(predicted(GivenSettings(2e-3, decay=2e-4, optimizer="adamw")), of_optimizer(optimizer))
    smooth = torch.optim.AdamW(sd.param_groups(model(), "adamw", lr=2e-3, weight_decay=0.1), betas=(0.99, 0.999))
    same(predicted(GivenSettings(2e-3, 0.1, betas=(0.99, 0.999))), of_optimizer(smooth))


@pytest.mark.parametrize("betas", [None, (0.95, 0.98)])
def test_lion_has_two_betas(betas: tuple[float, float] | None) -> None:
    groups = sd.param_groups(model(), "lion", lr=1e-3, weight_decay=0.1)
    optimizer = sd.Lion(groups, 1e-3) if betas is None else sd.Lion(groups, 1e-3, betas)
    same(predicted(GivenSettings(1e-3, 0.1, optimizer="lion", betas=betas)), of_optimizer(optimizer))


@pytest.mark.parametrize(("ours", "other"), [("col_norm", "ColNorm"), ("spectral", "SPECTRAL"), ("sign", "Sign")])
def test_a_norm_is_understood_in_any_spelling(ours: str, other: str) -> None:
    found, expected = (predicted(GivenSettings(0.03, 0.5, optimizer="scion", norm=name)) for name in (other, ours))
    assert found == expected


def test_muon_moves_hidden_matrices_with_nesterov_momentum() -> None:
    found = predicted(GivenSettings(0.02, 0.1, optimizer="muon"))
    scale = {"name": "spectral", "scale": "max"}
    groups = sd.param_groups(model(), "scion", lr=0.02, weight_decay=0.1, overrides={"blocks.*": {"norm": scale}})
    expected = of_optimizer(sd.Scion(groups, 0.02, 0.95, nesterov=True))
    assert math.isnan(found.pop("embedding.weight"))
    expected.pop("embedding.weight")
    same(found, expected)
    up = torch.optim.Muon([nn.Parameter(torch.zeros(64, 16))], 0.02, weight_decay=0.1).param_groups[0]
    of_torch = predicted_norm_sq(up, (64, 16), MUON)
    assert found["blocks.0.mlp.up.weight"] == pytest.approx(math.sqrt(of_torch), rel=1e-12)


def test_elementwise_optimizers_do_not_decay_vectors_and_scion_does() -> None:
    vector = StoredWeight("norm.weight", (8,), "float32")
    guess = guesses([vector], in_model_order=True)["norm.weight"]
    assert GivenSettings(1e-3, 0.1).settings_of(guess, (8,)).text == "AdamW vector: no prediction, no decay"
    scion = GivenSettings(1e-3, 0.1, optimizer="scion").settings_of(guess, (8,))
    assert scion.predicted_norm((8,)) > 0 and "bias norm" in scion.text


def test_without_options_nothing_is_given() -> None:
    assert not GivenSettings().is_given
    assert GivenSettings(momentum=None, nesterov=None).is_given is False


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"lr": 0.1}, r"options are lr=0\.1; give at least --lr and one of --weight-decay and --decay"),
    ({"weight_decay": 0.1}, r"options are weight_decay=0\.1; give at least --lr and"),
    ({"optimizer": "scion"}, "options are optimizer='scion'; give at least --lr and"),
    ({"lr": 0.1, "weight_decay": 0.1, "decay": 0.1}, "options are .*weight_decay=0.1, decay=0.1; give at least"),
    ({"lr": 0.0, "decay": 0.1}, r"--lr is 0\.0; it must be in \(0, inf\): give the peak"),
    ({"lr": -1.0, "decay": 0.1}, r"--lr is -1\.0; it must"),
    ({"lr": math.nan, "decay": 0.1}, "--lr is nan; it must"),
    ({"lr": 0.1, "decay": 1.0}, r"--decay is 1\.0; it must be in \[0, 1\): it is the share"),
    ({"lr": 0.1, "decay": -0.1}, r"--decay is -0\.1; it must"),
    ({"lr": 0.1, "weight_decay": 20.0}, r"lr · --weight-decay is 2\.0; it must be in \[0, 1\)"),
    ({"lr": 0.1, "weight_decay": -0.1}, "lr · --weight-decay is -0.01"),
    ({"lr": 0.1, "weight_decay": 0.1, "output_lr": 50.0}, r"lr · --weight-decay is 5\.0; it must"),
    ({"lr": 0.1, "decay": 0.1, "output_lr": 0.0}, r"--output-lr is 0\.0; it must be in \(0, inf\)"),
    ({"lr": 0.1, "decay": 0.1, "optimizer": "scion", "momentum": 1.0}, r"--momentum is 1\.0; it must be in \[0, 1\)"),
    ({"lr": 0.1, "decay": 0.1, "optimizer": "lion", "betas": (0.9, 1.5)}, r"--betas is 1\.5; it must be in \[0, 1\)"),
    (
        {"lr": 0.1, "decay": 0.1, "momentum": 0.9},
        "--momentum is given with --optimizer adamw, which does not have it; .* leave it out",
    ),
    ({"lr": 0.1, "decay": 0.1, "optimizer": "scion", "betas": (0.9, 0.9)}, "--betas is given with --optimizer scion"),
    ({"lr": 0.1, "decay": 0.1, "optimizer": "lion", "nesterov": True}, "--nesterov .* it belongs to scion or muon"),
    ({"lr": 0.1, "decay": 0.1, "optimizer": "muon", "norm": "sign"}, "--norm is given with --optimizer muon"),
    (
        {"lr": 0.1, "decay": 0.1, "optimizer": "scion", "norm": "round"},
        "--norm is 'round'; it must be one of 'sign', 'spectral'",
    ),
]


@pytest.mark.parametrize(("options", "message"), MISTAKES)
def test_a_mistake_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GivenSettings(**options)
