"""Where parameters stand, whatever wraps the model or the layer."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.fsdp.wrap import ModuleWrapPolicy
from torch.nn.utils import parametrize, prune
from torch.testing._internal.distributed.fake_pg import FakeStore
from transformers.pytorch_utils import Conv1D

import steadydecay as sd
from steadydecay.groups.places import owners_of, places_of, plain_name, unwrapped
from steadydecay.groups.roles import found_roles, roles_of


class Half(nn.Module):
    """A parametrization that people write."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight / 2

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight * 2


class LowRank(nn.Module):
    """LoRA as a parametrization."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.lora_A, self.lora_B = nn.Parameter(torch.ones(1, columns)), nn.Parameter(torch.zeros(rows, 1))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.lora_B @ self.lora_A


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.table = nn.Embedding(5, 4)
        self.norm = nn.LayerNorm(4)
        self.qkv = nn.Linear(4, 12)
        self.head = nn.Linear(4, 3)


ROLES = {
    "conv.weight": "conv",
    "conv.bias": "vector",
    "table.weight": "embedding",
    "norm.weight": "vector",
    "norm.bias": "vector",
    "qkv.weight": "hidden",
    "qkv.bias": "vector",
    "head.weight": "output",
    "head.bias": "vector",
}


def roles_by_plain_name(model: nn.Module) -> dict[str, str]:
    roles = roles_of(model)
    return {place.plain_name: roles[place.name] for place in places_of(model)}


def every_weight_halved() -> nn.Module:
    model = Network()
    for module in model.children():
        parametrize.register_parametrization(module, "weight", Half())
    parametrize.register_parametrization(model.conv, "bias", Half())
    return model


def two_parametrizations() -> nn.Module:
    model = every_weight_halved()
    for module in model.children():
        parametrize.register_parametrization(module, "weight", Half())
    return model


def pruned() -> nn.Module:
    model = Network()
    for module in (model.conv, model.table, model.qkv, model.head):
        prune.l1_unstructured(module, "weight", 0.5)
    return model


def compiled_in_parts() -> nn.Module:
    model: Any = Network()
    for name, module in list(model.named_children()):
        setattr(model, name, torch.compile(module))
    return model


@pytest.mark.parametrize("build", [Network, every_weight_halved, two_parametrizations, pruned, compiled_in_parts])
def test_a_layer_keeps_its_role_however_its_weight_is_kept(build: Any) -> None:
    assert roles_by_plain_name(build()) == ROLES


def test_query_key_and_value_are_told_apart_under_a_parametrization() -> None:
    groups = sd.param_groups(every_weight_halved(), lr=0.1)
    norms = {name: group["norm"] for group in groups for name in group["param_names"]}
    assert norms["qkv.parametrizations.weight.original"] == {"name": "spectral", "split_sizes": (4, 4, 4)}


def test_a_transposed_weight_is_known_under_a_parametrization() -> None:
    layer = parametrize.register_parametrization(Conv1D(6, 4), "weight", Half())
    assert sd.param_groups(layer, lr=0.1, output=False)[1]["norm"] == {"name": "spectral", "transposed": True}


@pytest.mark.parametrize("dim", [0, 1, None])
@pytest.mark.parametrize("layer", [nn.Linear(1, 6), nn.Linear(6, 6), nn.Conv1d(3, 6, 1), nn.ConvTranspose2d(2, 3, 2)])
@pytest.mark.parametrize("normalise", [nn.utils.parametrizations.weight_norm, nn.utils.weight_norm])
@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated")
def test_a_magnitude_is_a_vector_and_a_direction_is_what_the_layer_is(
    normalise: Any, layer: nn.Module, dim: Any
) -> None:
    model = nn.Sequential(normalise(type(layer)(*_sizes(layer)), dim=dim), nn.Linear(3, 2))
    magnitude, direction = sorted(
        (place for place in places_of(model) if place.path == "0" and place.tensor == "weight"),
        key=lambda place: not place.is_magnitude,
    )
    roles = roles_of(model)
    assert roles[magnitude.name] == "vector"
    assert roles[direction.name] == ("hidden" if isinstance(layer, nn.Linear) else "conv")
    assert direction.shape == layer.get_parameter("weight").shape


def _sizes(layer: nn.Module) -> tuple[int, ...]:
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    assert isinstance(layer, nn.Conv1d | nn.ConvTranspose2d)
    return layer.in_channels, layer.out_channels, layer.kernel_size[0]


def test_weights_of_recurrent_and_attention_layers_keep_their_names() -> None:
    model = nn.ModuleDict({"rnn": nn.GRU(4, 8), "attention": nn.MultiheadAttention(8, 2, kdim=4, add_bias_kv=True)})
    nn.utils.parametrizations.weight_norm(model["rnn"], "weight_hh_l0")
    nn.utils.parametrizations.weight_norm(model["attention"], "q_proj_weight")
    roles = roles_of(model, output=False)
    originals = {name: role for name, role in roles.items() if "original" in name}
    assert list(originals.values()) == ["vector", "hidden", "vector", "hidden"]
    assert roles["attention.bias_k"] == "vector"


def test_low_rank_parametrizations_are_matrices_and_never_the_output() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))
    for layer in model:
        parametrize.register_parametrization(layer, "weight", LowRank(*layer.get_parameter("weight").shape))
    roles = roles_of(model)
    assert {role for name, role in roles.items() if "lora" in name} == {"hidden"}
    assert roles["1.parametrizations.weight.original"] == "output"


def test_looking_at_a_parametrized_model_does_not_compute_its_weights() -> None:
    """Reading `weight` of spectral normalisation turns its power iteration on."""
    model = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Embedding(5, 4)), nn.Linear(4, 3))
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    assert before
    sd.param_groups(model, lr=0.1)
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())


def test_owners_by_every_name() -> None:
    model = Network()
    tied: Any = nn.ModuleDict({"a": model.table, "b": nn.Linear(4, 5, bias=False)})
    tied["b"].weight = model.table.weight
    assert owners_of(tied) == {"a.weight": model.table, "b.weight": tied["b"]}


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("blocks.0._orig_mod.up.weight", "blocks.0.up.weight"),
        ("_fsdp_wrapped_module.up._checkpoint_wrapped_module.weight", "up.weight"),
        ("up.parametrizations.weight.original", "up.weight"),
        ("parametrizations.weight.original1", "parametrizations.weight.original1"),
        ("classifier.modules_to_save.my_task.out_proj.weight", "classifier.out_proj.weight"),
        ("classifier.original_module.weight", "classifier.weight"),
        ("q_proj.base_layer.weight", "q_proj.weight"),
        ("base_layers.0.weight", "base_layers.0.weight"),
    ],
)
def test_plain_names(name: str, plain: str) -> None:
    assert plain_name(name) == plain


def test_wrappers_are_seen_through_and_models_are_not() -> None:
    model = Network()
    assert unwrapped(nn.DataParallel(nn.Sequential(model)))[0] == "module.0."
    assert unwrapped(model) == ("", [model])
    layers = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12, batch_first=True), 1)
    assert unwrapped(layers) == ("", [layers])


# --- the first FSDP, whose parameters are flat pieces ---


@pytest.fixture
def second_of_two_ranks() -> Iterator[None]:
    dist.init_process_group("fake", store=FakeStore(), rank=1, world_size=2)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("second_of_two_ranks")
@pytest.mark.parametrize("kinds", [set(), {nn.Conv2d, nn.Embedding}])
def test_flat_pieces_have_the_roles_of_their_wholes(kinds: set[type[nn.Module]]) -> None:
    policy = ModuleWrapPolicy(kinds) if kinds else None
    cpu = torch.device("cpu")
    model = FullyShardedDataParallel(Network(), use_orig_params=True, auto_wrap_policy=policy, device_id=cpu)
    assert all(parameter.ndim == 1 for parameter in model.parameters())
    assert roles_by_plain_name(model) == ROLES
    roles = {name: group["role"] for group in sd.param_groups(model, "adamw", lr=0.1) for name in group["param_names"]}
    assert roles == roles_of(model)


@pytest.mark.usefixtures("second_of_two_ranks")
def test_one_flat_parameter_for_all_is_said() -> None:
    model = FullyShardedDataParallel(Network(), use_orig_params=False, device_id=torch.device("cpu"))
    ((role, doubt),) = found_roles(model).values()
    assert role == "vector"
    assert (
        doubt
        == "because FSDP has flattened many parameters into this one; pass use_orig_params=True or use fully_shard"
    )


def test_what_deepspeed_leaves_behind_has_the_role_of_the_whole() -> None:
    model = Network()
    for parameter in model.parameters():
        parameter.ds_shape = parameter.shape  # pyright: ignore[reportAttributeAccessIssue]
        parameter.data = torch.empty(0)
    assert roles_by_plain_name(model) == ROLES


class Scaled(nn.Module):
    """Weight normalisation that somebody wrote, with the direction first or last."""

    def __init__(self, *axes: int, is_first: bool) -> None:
        super().__init__()
        self.axes, self.is_first = axes, is_first

    def forward(self, first: Tensor, last: Tensor) -> Tensor:
        return first * last

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        sizes = [size if axis in self.axes else 1 for axis, size in enumerate(weight.shape)]
        gains = torch.ones(sizes)
        return (weight, gains) if self.is_first else (gains, weight)


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize(("is_linear", "axes"), [(True, (0,)), (True, (1,)), (False, (0, 1))])
def test_a_magnitude_of_ones_own_is_a_vector(is_linear: bool, axes: tuple[int, ...], is_first: bool) -> None:
    layer = nn.Linear(4, 6) if is_linear else nn.Conv1d(4, 6, 3)
    model = nn.Sequential(parametrize.register_parametrization(layer, "weight", Scaled(*axes, is_first=is_first)))
    roles = [roles_of(model, output=False)[f"0.parametrizations.weight.original{i}"] for i in (0, 1)]
    of_layer = "hidden" if is_linear else "conv"
    assert roles == ([of_layer, "vector"] if is_first else ["vector", of_layer])


def test_factors_of_a_weight_are_no_magnitudes() -> None:
    """Neither of a weight of rank one has the axes of the whole."""
    layer: Any = nn.Linear(4, 6)
    parametrize.register_parametrization(layer, "weight", Product(), unsafe=True)
    assert [place.is_magnitude for place in places_of(layer) if place.tensor == "weight"] == [False, False]


class Product(nn.Module):
    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return left @ right

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return weight[:, :1].clone(), weight[:1].clone()


def test_a_single_module_of_bare_parameters_is_seen_through_by_name() -> None:
    bare = nn.Module()
    bare.w1 = nn.Parameter(torch.ones(4, 4))
    assert unwrapped(nn.DataParallel(bare))[0] == "module."
    assert [place.plain_name for place in places_of(nn.DataParallel(bare))] == ["w1"]
