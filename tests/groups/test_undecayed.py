"""What the authors of a model ask not to decay: marks, methods and state-space models' names."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import nn
from transformers import FalconMambaConfig, FalconMambaForCausalLM, RwkvConfig, RwkvForCausalLM

import steadydecay as sd
from steadydecay.groups.places import places_of
from steadydecay.groups.roles import roles_of
from steadydecay.groups.undecayed import undecayed


class Scan(nn.Module):
    """Parameters of a state-space model, with or without a mark."""

    def __init__(self, marks: Mapping[str, Any] | None = None, **shapes: tuple[int, ...]) -> None:
        super().__init__()
        for name, shape in shapes.items():
            parameter = nn.Parameter(torch.ones(shape))
            for mark, value in (marks or {}).items():
                setattr(parameter, mark, value)
            self.register_parameter(name, parameter)
        self.proj = nn.Linear(8, 8)


class Asking(nn.Module):
    """As timm's models and Swin's authors ask."""

    def __init__(self, exact: Any = (), keywords: Any = ()) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.ones(1, 5, 8))
        self.attention = nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)
        self._exact, self._keywords = exact, keywords

    def no_weight_decay(self) -> Any:
        return self._exact

    def no_weight_decay_keywords(self) -> Any:
        return self._keywords


def reasons(model: nn.Module) -> dict[str, str]:
    return undecayed(model, places_of(model))


def decay_by_name(model: nn.Module, optimizer: str = "scion", **options: Any) -> dict[str, Any]:
    groups = sd.param_groups(model, optimizer, lr=0.1, weight_decay=0.2, **options)
    return {name: group.get("weight_decay") for group in groups for name in group["param_names"]}


@pytest.mark.parametrize(
    ("mark", "value"),
    [
        ("_no_weight_decay", True),
        ("no_weight_decay", 1),
        ("_no_wd", True),
        ("_no_decay", True),
        ("_no_weight_decay_scale", True),
        ("_no_weight_decay_scale", 0.0),
        ("_optim", {"lr": 1e-3, "weight_decay": 0.0}),
        ("optim_overrides", {"optimizer": {"weight_decay_scale": 0}}),
    ],
)
def test_a_mark_on_a_parameter(mark: str, value: Any) -> None:
    model = Scan({mark: value}, theta=(8, 4))
    what = "setting" if isinstance(value, dict) else "mark"
    assert reasons(model) == {"theta": f"as the {what} {mark} asks"}
    assert decay_by_name(model)["theta"] == 0


@pytest.mark.parametrize(
    ("mark", "value"),
    [
        ("_no_weight_decay", False),
        ("_no_weight_decay_scale", 0.5),
        ("_no_reinit", True),
        ("_optim", {"lr": 1e-3}),
        ("_optim", {"weight_decay": 0.1}),
        ("optim_overrides", None),
    ],
)
def test_what_is_no_mark(mark: str, value: Any) -> None:
    assert reasons(Scan({mark: value}, theta=(8, 4))) == {}


@pytest.mark.parametrize("optimizer", ["scion", "adamw", "lion"])
def test_dynamics_are_vectors_without_decay_under_every_optimizer(optimizer: str) -> None:
    """Mamba's A_log, (d, n), was decayed as a spectral matrix."""
    model = Scan(A_log=(8, 4), D=(8,), dt_bias=(8,))
    roles = roles_of(model)
    assert [roles[name] for name in ("A_log", "D", "dt_bias", "proj.weight")] == ["vector"] * 3 + ["output"]
    decays = decay_by_name(model, optimizer)
    assert [decays[name] for name in ("A_log", "D", "dt_bias", "proj.weight")] == [0, 0, 0, 0.2]


@pytest.mark.parametrize(
    "shapes",
    [
        {"log_A_real": (8, 4), "A_imag": (8, 4), "log_dt": (8, 1)},
        {"inv_A_real": (1, 8, 4), "inv_dt": (8, 2)},
        {"A_log": (2, 8, 4), "A": (8, 4)},
        {"time_decay": (4, 8), "time_faaaa": (4, 8), "time_mix_key": (1, 1, 8)},
    ],
)
def test_dynamics_of_other_models(shapes: dict[str, tuple[int, ...]]) -> None:
    model = Scan(None, **shapes)
    assert reasons(model).keys() == shapes.keys()
    assert {roles_of(model)[name] for name in shapes} == {"vector"}


def test_names_that_are_dynamics_only_beside_others() -> None:
    model = Scan(A=(8, 4), D=(8, 4), time_maa_w1=(8, 160))
    assert reasons(model) == {}
    assert "vector" not in {role for name, role in roles_of(model).items() if "proj" not in name}


def test_real_state_space_models() -> None:
    sizes: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "vocab_size": 32}
    falcon = FalconMambaForCausalLM(FalconMambaConfig(**sizes, state_size=4))
    assert reasons(falcon).keys() == {
        f"backbone.layers.{layer}.mixer.{name}" for layer in (0, 1) for name in ("A_log", "D")
    }
    rwkv = RwkvForCausalLM(RwkvConfig(**sizes))
    assert {name.rpartition(".")[2] for name in reasons(rwkv)} == {
        "time_decay",
        "time_first",
        "time_mix_key",
        "time_mix_value",
        "time_mix_receptance",
    }


@pytest.mark.parametrize("wrap", [lambda model: model, nn.DataParallel, lambda model: torch.compile(model)])
@pytest.mark.parametrize("exact", [{"pos_embed"}, ["pos_embed", "none_such"]])
def test_a_models_own_list(exact: Any, wrap: Any) -> None:
    model = wrap(Asking(exact))
    (name,) = (name for name, _ in model.named_parameters() if name.endswith("pos_embed"))
    assert reasons(model) == {name: "as the model's no_weight_decay() asks"}
    assert (roles_of(model)[name], decay_by_name(model)[name]) == ("embedding", 0)


def test_a_list_of_keywords_and_a_list_that_is_no_method() -> None:
    assert reasons(Asking(keywords={"attention"})).keys() == {"attention.weight", "attention.bias"}
    model: Any = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    model[0].no_weight_decay = {"weight"}
    assert reasons(model).keys() == {"0.weight"}


@pytest.mark.parametrize("exact", ["pos_embed", None, 3])
def test_an_answer_that_is_no_list_is_none(exact: Any) -> None:
    assert reasons(Asking(exact)) == {}


def test_an_override_has_the_last_word() -> None:
    model = Asking({"pos_embed", "attention.weight"})
    assert decay_by_name(model, overrides={"pos_embed": {"weight_decay": 0.3}})["pos_embed"] == 0.3
    by_norm = sd.param_groups(model, lr=0.1, overrides={"attention.weight": {"steady_norm_sq": 2.0}})
    (group,) = (group for group in by_norm if "attention.weight" in group["param_names"])
    assert group["steady_norm_sq"] == 2.0
    assert "attention" not in sd.describe(by_norm).rpartition("\n")[2]


def test_a_wanted_norm_for_all_does_not_decay_them() -> None:
    """The constructor's steady_norm_sq is a default of every group, and would decay them after all."""
    model = Asking({"pos_embed"})
    optimizer = sd.ScionC(sd.param_groups(model, lr=0.1), lr=0.1, steady_norm_sq=0.5)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert torch.equal(model.pos_embed, before["pos_embed"])
    assert not torch.equal(model.attention.weight, before["attention.weight"])


def test_describe_says_what_is_not_decayed() -> None:
    assert sd.describe(sd.param_groups(Asking({"pos_embed"}), lr=0.1)).endswith(
        "pos_embed: not decayed, as the model's no_weight_decay() asks."
    )
