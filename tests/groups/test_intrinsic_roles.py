"""Roles of parameters that stand in no layer of torch's, by their class, name and shape."""

from typing import Any

import pytest
import torch
from torch import nn

from steadydecay.groups.intrinsic_roles import is_norm
from steadydecay.groups.roles import found_roles, roles_of


class Bare(nn.Module):
    """One parameter of a name and a shape, in a module that torch does not know."""

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_parameter(name, nn.Parameter(torch.zeros(shape)))


class QueryNorm(Bare):
    """Gains for each head, as Cohere's and Chameleon's."""


class DeformConv(Bare):
    """A convolution that is none of torch's."""


class VocabParallelEmbedding(Bare):
    """A table that is none of torch's."""


class NormedLinear(Bare):
    """A matrix, whatever is normalised."""


@pytest.mark.parametrize(
    ("owner", "name", "shape", "role", "is_guessed"),
    [
        (Bare, "weight", (8, 4), "hidden", False),
        (Bare, "gate_up_proj", (3, 8, 4), "hidden", False),
        (Bare, "qkv", (3, 8, 8), "hidden", False),
        (Bare, "wk", (8, 4), "hidden", False),
        (Bare, "mixing", (8, 4), "hidden", True),
        (Bare, "mixing", (2, 3, 8, 4), "hidden", True),
        (Bare, "weight", (1, 8), "vector", True),
        (Bare, "scale", (8, 1), "vector", False),
        (Bare, "pos_bias_u", (4, 8), "vector", False),
        (Bare, "attention_biases", (4, 49), "embedding", False),
        (Bare, "relative_position_bias_table", (49, 4), "embedding", False),
        (Bare, "rel_pos_h", (27, 8), "embedding", False),
        (Bare, "positional_embedding", (77, 8), "embedding", False),
        (Bare, "reg_token", (1, 4, 8), "embedding", False),
        (Bare, "latents", (16, 8), "embedding", False),
        (Bare, "cls_token", (1, 8), "vector", False),
        (QueryNorm, "weight", (4, 8), "vector", False),
        (nn.LayerNorm, "weight", (3, 4, 4), "vector", False),
        (NormedLinear, "weight", (8, 4), "hidden", False),
        (DeformConv, "weight", (8, 4, 3, 3), "conv", False),
        (VocabParallelEmbedding, "weight", (11, 8), "embedding", False),
        (nn.Embedding, "weight", (1, 8), "embedding", False),
        # It may be a second output beside the head.
        (nn.Linear, "weight", (1, 8), "hidden", True),
    ],
)
def test_the_role_of_a_parameter_by_its_owner_name_and_shape(
    owner: Any, name: str, shape: tuple[int, ...], role: str, is_guessed: bool
) -> None:
    sizes = {nn.LayerNorm: (shape,), nn.Embedding: shape, nn.Linear: shape[::-1]}.get(owner, (name, shape))
    model = nn.ModuleDict({"one": owner(*sizes), "head": nn.Linear(8, 3)})
    found = found_roles(model)[f"one.{name}"]
    assert (found.role, bool(found.doubt)) == (role, is_guessed)


def test_a_parameter_in_a_list_or_dict_is_called_as_the_list() -> None:
    lists = nn.ModuleDict(
        {
            "tokens": nn.ParameterDict({"a": torch.zeros(3, 4)}),
            "w": nn.ParameterList([torch.ones(4, 4)]),
            "head": nn.Linear(4, 3),
        }
    )
    found = found_roles(lists)
    assert (found["tokens.a"], found["w.0"]) == (("embedding", ""), ("hidden", ""))


@pytest.mark.parametrize(
    ("name", "shape", "role"),
    [
        ("lora_A", (1, 8), "hidden"),
        ("lora_B", (8, 1), "hidden"),
        ("lora_embedding_A", (1, 8), "hidden"),
        ("lora_down", (1, 8), "hidden"),
        ("ia3_l", (8, 1), "vector"),
        ("ia3_l", (1, 8), "vector"),
        ("lora_E", (4, 1), "vector"),
        ("lora_magnitude_vector", (8, 1), "vector"),
        ("hada_w1_a", (8, 4), "hidden"),
    ],
)
def test_adapters(name: str, shape: tuple[int, ...], role: str) -> None:
    """Matrices of rank one are matrices, and gains that stand as a column are vectors; none is the output."""
    model = nn.Module()
    model.add_module("lm_head", Bare(name, shape))
    model.get_submodule("lm_head").add_module("base_layer", nn.Linear(8, 8, bias=False))
    assert roles_of(model) == {f"lm_head.{name}": role, "lm_head.base_layer.weight": "output"}


def test_a_norm_is_a_class_that_is_called_one() -> None:
    def made(name: str, shape: tuple[int, ...]) -> nn.Module:
        module = type(name, (nn.Module,), {})()
        module.weight = nn.Parameter(torch.ones(shape))
        return nn.Sequential(module, nn.Linear(4, 4))

    for name in ("NormalizingFlow", "NormalizedGPT", "AbnormalDetector", "NormFormer", "NormFreeNet", "PreNormGPT"):
        assert roles_of(made(name, (4, 4)))["0.weight"] != "vector", name
    for name in (
        "MyRMSNorm",
        "LayerNormalization",
        "FrozenBatchNorm2d",
        "RMSNormGated",
        "LayerNormFp32",
        "BatchNormAct2d",
    ):
        assert roles_of(made(name, (2, 4, 4)))["0.weight"] == "vector", name


def test_what_holds_layers_is_no_norm() -> None:
    norm = type("ScaleNorm", (nn.Module,), {})()
    norm.gains = nn.Parameter(torch.ones(4, 4))
    assert is_norm(norm)
    norm.proj = nn.Linear(4, 4)
    assert not is_norm(norm)


class RelationalConv(Bare):
    """A graph convolution, with a matrix for each relation."""


class CausalConv1d(Bare):
    """A convolution that somebody wrote."""


class ConvNextGRN(Bare):
    """Gains in a class whose name says convolution."""


class MixedConv2d(Bare):
    """Kernels that are mixed, each flattened into a row."""


class GraphConv(Bare):
    """A graph convolution with one matrix."""


class Dense(Bare):
    """A layer of somebody's own."""


@pytest.mark.parametrize(
    ("owner", "name", "shape", "role", "is_guessed"),
    [
        (RelationalConv, "weight", (5, 8, 32), "hidden", True),
        (RelationalConv, "weight", (32, 8, 3), "conv", True),
        (RelationalConv, "weight", (32, 1, 4), "conv", False),
        (CausalConv1d, "weight", (32, 8, 31), "conv", False),
        (ConvNextGRN, "weight", (1, 1, 1, 32), "vector", False),
        (MixedConv2d, "weight", (4, 8 * 72), "hidden", True),
        (GraphConv, "weight", (8, 8), "hidden", False),
        (Dense, "w", (8, 1), "hidden", False),
        (Bare, "b_Q", (4, 8), "vector", False),
        (Bare, "W_E", (50, 8), "embedding", False),
        (Bare, "wte", (50, 8), "embedding", False),
        (Bare, "rel_pos_bias", (4, 9), "embedding", False),
        (Bare, "relative_attention_bias", (32, 4), "embedding", False),
        (Bare, "height_rel", (15, 8), "embedding", False),
        (Bare, "q_bias", (4, 8), "vector", False),
    ],
)
def test_roles_of_own_classes_and_bare_parameters(
    owner: Any, name: str, shape: tuple[int, ...], role: str, is_guessed: bool
) -> None:
    model = nn.ModuleDict({"one": owner(name, shape), "head": nn.Linear(8, 3)})
    found = found_roles(model, output="head")[f"one.{name}"]
    assert (found.role, bool(found.doubt)) == (role, is_guessed)
