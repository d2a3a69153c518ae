"""Which layers count as one kind, and how large they start."""

import math

import pytest
import torch
from torch import nn

import steadydecay as sd
from steadydecay.forecasting.layer_kinds import LayerKind, layer_kinds, norm_sq_of_rms, unit_norm_sq
from steadydecay.known_optimizers.table import SCION
from steadydecay.recipes.gpt.model import GPT

SIZES = {"layers": 2, "heads": 1, "width": 8}


def kinds_of(model: nn.Module, optimizer: str = "scion", **arguments: object) -> list[LayerKind]:
    groups = sd.param_groups(model, optimizer, lr=0.1, weight_decay=0.1)
    return layer_kinds([(group | {"momentum": 0.9}, SCION) for group in groups], unit_norm_sq)


def test_layers_of_one_shape_in_one_group_are_one_kind() -> None:
    kinds = kinds_of(GPT(16, **SIZES))
    assert [(kind.title, kind.shape, kind.count) for kind in kinds] == [
        ("embedding.weight", (16, 8), 1),
        ("blocks.*.attention.qkv", (3, 8, 8), 2),
        ("blocks.*.attention.projection.weight", (8, 8), 2),
        ("blocks.*.mlp.up.weight", (32, 8), 2),
        ("blocks.*.mlp.down.weight", (8, 32), 2),
    ]
    assert kinds[0].description == "output sign 16×8"
    assert kinds[1].description == "hidden spectral 3×8×8 ×2"
    assert kinds[1].entries == 192


def test_other_settings_make_another_kind() -> None:
    model = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False))
    groups = sd.param_groups(model, lr=0.1, output=False, overrides={"1.weight": {"lr": 0.2}})
    kinds = layer_kinds([(group, SCION) for group in groups], unit_norm_sq)
    assert [(kind.names, kind.settings["lr"]) for kind in kinds] == [(("0.weight",), 0.1), (("1.weight",), 0.2)]


def test_a_title_names_the_first_of_several_and_counts_the_others() -> None:
    kind = LayerKind(("h.0.q.weight", "h.1.q.weight", "h.0.k.weight", "h.0.v.weight"), (4, 4), 4, {}, SCION, 0.0)
    assert kind.title == "h.*.q.weight + 2 more"


def test_a_scalar_and_a_group_of_another_optimizer_have_a_description() -> None:
    kind = LayerKind(("scale",), (), 1, {"role": "vector"}, SCION, 0.0)
    assert (kind.description, kind.entries, kind.own_rule) == ("vector scalar", 1, "constant")


def test_parameters_without_entries_are_left_out() -> None:
    model = nn.Linear(3, 3)
    model.register_parameter("empty", nn.Parameter(torch.empty(0, 3)))
    assert [kind.names for kind in kinds_of(model)] == [("weight",), ("bias",)]


def test_a_parameter_may_stand_for_many_layers() -> None:
    group = {"params": [torch.empty(4, 4)], "param_names": ["4x4"], "role": "hidden"}
    (kind,) = layer_kinds([(group, SCION)], norm_sq_of_rms(0.5), {"4x4": 12})
    assert (kind.count, kind.initial_norm_sq) == (12, 4.0)


@pytest.mark.parametrize("transposed", [False, True])
def test_the_unit_norm_is_that_of_init(transposed: bool) -> None:
    model = nn.Sequential(nn.Embedding(16, 8), nn.Conv2d(4, 6, 3), nn.Linear(8, 24), nn.LayerNorm(8), nn.Linear(24, 8))
    norm = {"2.weight": {"norm": {"name": "spectral", "transposed": True}}} if transposed else None
    groups = sd.param_groups(model, lr=0.1, overrides=norm)
    torch.manual_seed(0)
    nn.init.zeros_(model[2].bias)  # pyright: ignore[reportArgumentType]
    for bias in ("1.bias", "4.bias"):
        nn.init.zeros_(model.get_parameter(bias))
    sd.init_(groups)
    for kind in layer_kinds([(group, SCION) for group in groups], unit_norm_sq):
        norms_sq = [model.get_parameter(name).square().sum().item() for name in kind.names]
        assert kind.initial_norm_sq == pytest.approx(sum(norms_sq) / len(norms_sq), rel=1e-5), kind.title


def test_without_norms_weights_start_at_zero() -> None:
    assert {kind.initial_norm_sq for kind in kinds_of(GPT(16, **SIZES), "adamw")} == {0.0}


def test_layers_of_a_kind_start_at_the_mean_of_their_squares() -> None:
    group = {"params": [torch.ones(2, 2), 3 * torch.ones(2, 2)], "param_names": ["a", "b"], "role": "hidden"}
    square = layer_kinds([(group, SCION)], lambda name, parameter, group: parameter.square().sum().item())
    assert math.isclose(square[0].initial_norm_sq, (4 + 36) / 2)
