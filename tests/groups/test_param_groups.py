"""Parameter groups of small models: every parameter once, overrides by name, the table, and LMO initialisation."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.models.gpt2 import GPT2Config, GPT2LMHeadModel

import steadydecay as sd
from steadydecay.groups.intrinsic_roles import ROLES
from steadydecay.groups.param_groups import NORM_OF_ROLE
from steadydecay.known_optimizers.named_optimizers import NAMED_OPTIMIZERS
from steadydecay.norms import Spectral, norm_for

WITH_NORMS = [name for name, named in NAMED_OPTIMIZERS.items() if named.takes_norms]
WITHOUT_NORMS = [name for name, named in NAMED_OPTIMIZERS.items() if not named.takes_norms]


class EveryRole(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 6)
        self.conv = nn.Conv1d(6, 4, 3)
        self.blocks = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])
        self.gain = nn.LayerNorm(4)
        self.router = nn.Linear(4, 2, bias=False)
        self.lm_head = nn.Linear(4, 7, bias=False)


class TiedGPT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wte = nn.Embedding(11, 8)
        self.blocks = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 24)])
        self.lm_head = nn.Linear(8, 11, bias=False)
        self.lm_head.weight = self.wte.weight


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3))


def convolutions() -> nn.Module:
    kernels = nn.Conv1d(2, 4, 3), nn.Conv2d(4, 5, 3), nn.Conv3d(5, 6, 2, bias=False)
    return nn.Sequential(*kernels, nn.Flatten(), nn.Linear(6, 3))


def gpt2() -> nn.Module:
    tokens: dict[str, Any] = {"vocab_size": 11, "bos_token_id": 0, "eos_token_id": 0}
    return GPT2LMHeadModel(GPT2Config(n_positions=6, n_embd=8, n_layer=2, n_head=2, **tokens))


MODELS: list[Callable[[], nn.Module]] = [mlp, EveryRole, TiedGPT, convolutions, gpt2]


def by_name(groups: list[dict[str, Any]], key: str) -> dict[str, Any]:
    return {name: group.get(key) for group in groups for name in group["param_names"]}


def by_role(groups: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    assert len({group["role"] for group in groups}) == len(groups)
    return {group["role"]: group for group in groups}


# --- completeness ---


@pytest.mark.parametrize("optimizer", NAMED_OPTIMIZERS)
@pytest.mark.parametrize("build", MODELS)
def test_every_trainable_parameter_is_in_one_group_once(build: Callable[[], nn.Module], optimizer: str) -> None:
    model = build()
    groups = sd.param_groups(model, optimizer, lr=0.1, weight_decay=0.1)
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in model.parameters())
    for group in groups:
        assert [id(model.get_parameter(name)) for name in group["param_names"]] == [id(p) for p in group["params"]]


def test_frozen_parameters_are_in_no_group() -> None:
    model = EveryRole()
    model.embedding.requires_grad_(False)
    model.gain.bias.requires_grad_(False)
    names = set(by_name(sd.param_groups(model, lr=0.1), "role"))
    assert names == {n for n, _ in model.named_parameters()} - {"embedding.weight", "gain.bias"}


@pytest.mark.parametrize("model", [nn.ReLU(), nn.Linear(3, 2).requires_grad_(False)])
def test_a_model_with_nothing_to_train_is_an_error(model: nn.Module) -> None:
    with pytest.raises(ValueError, match="model has no trainable parameter"):
        sd.param_groups(model, lr=0.1)


def test_one_group_for_each_role_with_its_norm() -> None:
    groups = by_role(sd.param_groups(EveryRole(), lr=0.1, weight_decay=0.2))
    assert set(groups) == set(ROLES)
    assert {role: group["norm"] for role, group in groups.items()} == {
        "hidden": "spectral",
        "output": "sign",
        "embedding": "sign",
        "vector": "bias",
        "conv": "spectral_conv",
        "router": "spectral",
    }
    assert {role: group.get("decay") for role, group in groups.items()} == {
        **dict.fromkeys(ROLES, None),
        "output": "constant",
    }
    assert all(group["lr"] == 0.1 and group["weight_decay"] == 0.2 for group in groups.values())
    assert groups["hidden"]["param_names"] == [f"blocks.{index}.weight" for index in range(3)]


@pytest.mark.parametrize("optimizer", WITH_NORMS)
def test_scion_is_the_default_and_its_kin_take_norms(optimizer: str) -> None:
    model = EveryRole()
    default = sd.param_groups(model, lr=0.1)
    assert by_name(sd.param_groups(model, optimizer, lr=0.1), "norm") == by_name(default, "norm")
    assert None not in by_name(default, "norm").values()


@pytest.mark.parametrize("optimizer", WITHOUT_NORMS)
def test_under_adam_there_are_no_norms_and_vectors_have_no_decay(optimizer: str) -> None:
    groups = by_role(sd.param_groups(EveryRole(), optimizer, lr=0.1, weight_decay=0.2))
    assert all("norm" not in group for group in groups.values())
    assert {role: group["weight_decay"] for role, group in groups.items()} == {
        **dict.fromkeys(ROLES, 0.2),
        "vector": 0.0,
    }


def test_torchs_adamw_takes_the_groups() -> None:
    model = mlp()
    optimizer = torch.optim.AdamW(sd.param_groups(model, "adam", lr=0.1, weight_decay=0.2))
    model(torch.ones(2, 4)).sum().backward()
    optimizer.step()
    assert sorted(group["role"] for group in optimizer.param_groups) == ["hidden", "output", "vector"]


def test_under_scion_vectors_are_decayed() -> None:
    assert by_role(sd.param_groups(EveryRole(), lr=0.1, weight_decay=0.2))["vector"]["weight_decay"] == 0.2


# --- lr and weight_decay per role ---

PER_ROLE = {"hidden": 0.1, "output": 0.2, "embedding": 0.3, "vector": 0.4, "conv": 0.5, "router": 0.6}


@pytest.mark.parametrize("argument", ["lr", "weight_decay"])
def test_settings_per_role(argument: str) -> None:
    arguments: dict[str, Any] = {"lr": 1.0, argument: PER_ROLE}
    groups = by_role(sd.param_groups(EveryRole(), **arguments))
    assert {role: group[argument] for role, group in groups.items()} == PER_ROLE


@pytest.mark.parametrize("argument", ["lr", "weight_decay"])
@pytest.mark.parametrize("role", [role for role in ROLES if role != "router"])
def test_a_role_without_an_entry_is_an_error(argument: str, role: str) -> None:
    arguments: dict[str, Any] = {"lr": 1.0, argument: {key: x for key, x in PER_ROLE.items() if key != role}}
    del arguments[argument]["router"]
    message = rf"{argument} has no entry for role '{role}', so '[a-z_.0]+' would not be in any group; add an entry"
    with pytest.raises(ValueError, match=message):
        sd.param_groups(EveryRole(), **arguments)


@pytest.mark.parametrize("argument", ["lr", "weight_decay"])
def test_a_router_without_an_entry_takes_that_of_hidden(argument: str) -> None:
    """Dicts written before routers had a role of their own go on working."""
    of_others = {role: value for role, value in PER_ROLE.items() if role != "router"}
    arguments: dict[str, Any] = {"lr": 1.0, argument: of_others}
    assert by_role(sd.param_groups(EveryRole(), **arguments))["router"][argument] == PER_ROLE["hidden"]


def test_a_role_that_the_model_lacks_needs_no_entry() -> None:
    groups = by_role(sd.param_groups(mlp(), lr={"hidden": 0.1, "output": 0.2, "vector": 0.3}))
    assert {role: group["lr"] for role, group in groups.items()} == {"hidden": 0.1, "output": 0.2, "vector": 0.3}


def test_adam_needs_no_decay_for_vectors_and_an_override_needs_no_entry() -> None:
    groups = sd.param_groups(
        mlp(),
        "adam",
        lr={"hidden": 0.1, "vector": 0.3},
        weight_decay={"hidden": 0.2},
        overrides={"4.weight": {"lr": 0.4, "weight_decay": 0.1}},
    )
    assert by_name(groups, "lr")["4.weight"] == 0.4
    assert by_name(groups, "weight_decay") == {
        **dict.fromkeys(["0.bias", "2.bias", "4.bias"], 0.0),
        **dict.fromkeys(["0.weight", "2.weight"], 0.2),
        "4.weight": 0.1,
    }


@pytest.mark.parametrize("optimizer", ["sgd", "Scion", ""])
def test_an_unknown_optimizer_is_an_error(optimizer: str) -> None:
    with pytest.raises(ValueError, match=f"optimizer is '{optimizer}'; it must be one of 'scion', .*'adam'"):
        sd.param_groups(mlp(), optimizer, lr=0.1)


# --- the output ---


def test_the_output_by_module_pattern_or_none() -> None:
    model = mlp()

    def found(output: Any) -> set[str]:
        roles = by_name(sd.param_groups(model, lr=0.1, output=output), "role")
        return {name for name, role in roles.items() if role == "output"}

    assert found(None) == {"4.weight"}
    assert found(False) == set()
    assert found(model.get_submodule("2")) == {"2.weight"}
    assert found("2") == found("2.weight") == found(["2.*"]) == {"2.weight"}
    assert found(["0", "2"]) == {"0.weight", "2.weight"}


def test_an_unmatched_output_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"output has pattern 'lm_haed.*nearest names are \['lm_head\.weight'"):
        sd.param_groups(EveryRole(), lr=0.1, output="lm_haed.weight")


def test_a_tied_embedding_is_one_output_parameter() -> None:
    groups = by_role(sd.param_groups(TiedGPT(), lr=0.1, weight_decay=0.1))
    assert groups["output"]["param_names"] == ["wte.weight"]
    assert groups["output"]["decay"] == "constant"
    assert "embedding" not in groups


# --- overrides ---


@pytest.mark.parametrize(
    "keys",
    [{"lr": 0.7}, {"weight_decay": 0.7}, {"norm": "row_norm"}, {"decay": "exact"}, {"momentum": 0.5, "nesterov": True}],
)
def test_an_override_sets_group_keys_of_what_it_matches_and_nothing_else(keys: Mapping[str, Any]) -> None:
    plain = sd.param_groups(EveryRole(), lr=0.1, weight_decay=0.2)
    groups = sd.param_groups(EveryRole(), lr=0.1, weight_decay=0.2, overrides={"blocks.[12].weight": keys})
    assert len(groups) == len(plain) + 1
    for key in ("role", "lr", "weight_decay", "norm", "decay", "momentum", "nesterov"):
        expected = by_name(plain, key)
        if key in keys:
            expected |= dict.fromkeys(["blocks.1.weight", "blocks.2.weight"], keys[key])
        assert by_name(groups, key) == expected


def test_later_patterns_win_key_by_key() -> None:
    overrides = {"blocks.*": {"lr": 0.5, "decay": "exact"}, "*.weight": {"lr": 0.7}, "blocks.0.weight": {"lr": 0.9}}
    groups = sd.param_groups(EveryRole(), lr=0.1, overrides=overrides)
    lrs, decays = by_name(groups, "lr"), by_name(groups, "decay")
    assert (lrs["blocks.0.weight"], lrs["blocks.1.weight"], lrs["blocks.1.bias"]) == (0.9, 0.7, 0.5)
    assert (lrs["conv.weight"], lrs["conv.bias"]) == (0.7, 0.1)
    assert (decays["blocks.0.weight"], decays["blocks.1.bias"], decays["conv.weight"]) == ("exact", "exact", None)


def test_an_override_of_the_role_changes_what_follows_from_it() -> None:
    overrides = {"lm_head.weight": {"role": "hidden"}, "blocks.2.weight": {"role": "output"}}
    groups = sd.param_groups(EveryRole(), lr=PER_ROLE, weight_decay=PER_ROLE, overrides=overrides)
    roles = by_role(groups)
    assert roles["hidden"]["param_names"] == ["blocks.0.weight", "blocks.1.weight", "lm_head.weight"]
    output = roles["output"]
    assert output["param_names"] == ["blocks.2.weight"]
    assert (output["lr"], output["weight_decay"], output["norm"], output["decay"]) == (0.2, 0.2, "sign", "constant")


def test_the_output_can_be_corrected_by_an_override() -> None:
    groups = sd.param_groups(EveryRole(), lr=0.1, weight_decay=0.1, overrides={"lm_head.*": {"decay": "corrected"}})
    assert by_role(groups)["output"]["decay"] == "corrected"
    assert {group["decay"] for group in sd.ScionC(groups, lr=1.0).param_groups} == {"corrected"}


def test_steady_norm_sq_replaces_weight_decay() -> None:
    groups = sd.param_groups(EveryRole(), lr=0.1, weight_decay=0.2, overrides={"blocks.*": {"steady_norm_sq": 3.0}})
    by_value = {group.get("steady_norm_sq"): group for group in groups if group["role"] == "hidden"}
    assert "weight_decay" not in by_value[3.0]
    optimizer = sd.ScionC(groups, lr=1.0)
    wanted = {group["role"]: group["steady_norm_sq"] for group in optimizer.param_groups if group["steady_norm_sq"]}
    assert wanted == {"hidden": 3.0, "vector": 3.0}


def test_a_vector_can_be_decayed_under_adam_by_an_override() -> None:
    groups = sd.param_groups(mlp(), "adam", lr=0.1, weight_decay=0.2, overrides={"*.bias": {"weight_decay": 0.3}})
    assert by_role(groups)["vector"]["weight_decay"] == 0.3


def test_a_norm_with_settings_in_an_override_reaches_the_optimizer() -> None:
    groups = sd.param_groups(gpt2(), lr=0.1, overrides={"*c_attn.weight": {"norm": Spectral(split_sizes=(4, 4))}})
    norms = [group["norm"] for group in sd.Scion(groups, lr=1.0).param_groups if "c_attn" in group["param_names"][0]]
    assert norms == [{"name": "spectral", "split_sizes": (4, 4)}]


@pytest.mark.parametrize(("ours", "other"), [("sign", "Sign"), ("spectral", "Spectral"), ("auto", "AUTO")])
def test_an_override_names_a_norm_in_any_spelling(ours: str, other: str) -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2))
    found, expected = (
        [
            {key: value for key, value in group.items() if key != "params"}
            for group in sd.param_groups(
                model, "scion", lr=0.1, weight_decay=0.1, overrides={"0.weight": {"norm": name}}
            )
        ]
        for name in (other, ours)
    )
    assert found == expected


def test_an_override_that_matches_nothing_is_an_error_that_names_the_nearest() -> None:
    message = r"overrides has pattern 'block\.1\.weight', which matches no parameter; .* are \['blocks\.1\.weight'"
    with pytest.raises(ValueError, match=message):
        sd.param_groups(EveryRole(), lr=0.1, overrides={"blocks.*": {"lr": 1.0}, "block.1.weight": {"lr": 1.0}})


def test_an_override_of_frozen_parameters_alone_matches_nothing() -> None:
    model = EveryRole()
    model.embedding.requires_grad_(False)
    with pytest.raises(ValueError, match=r"overrides has pattern 'embedding\.\*', which matches no parameter"):
        sd.param_groups(model, lr=0.1, overrides={"embedding.*": {"lr": 1.0}})


def test_an_unknown_role_in_an_override_is_an_error() -> None:
    with pytest.raises(
        ValueError, match=r"role is 'hiden' for 'blocks\.0\.weight'; it must be one of 'hidden', 'output'"
    ):
        sd.param_groups(EveryRole(), lr=0.1, overrides={"blocks.0.weight": {"role": "hiden"}})


def test_arguments_are_not_written_to() -> None:
    lr, overrides = dict(PER_ROLE), {"blocks.*": {"lr": 0.5}}
    sd.param_groups(EveryRole(), lr=lr, overrides=overrides)
    assert (lr, overrides) == (PER_ROLE, {"blocks.*": {"lr": 0.5}})


# --- describe ---

GOLDEN = """\
role       norm           decay         lr   weight_decay  decay/step  tensors  parameters  names
embedding  sign           as optimizer  0.1  0.2           0.02        1        42          embedding.weight
conv       spectral_conv  as optimizer  0.1  0.2           0.02        1        72          conv.weight
vector     bias           as optimizer  0.1  0.2           0.02        6        24          conv.bias blocks.*.bias \
gain.weight gain.bias
hidden     spectral       as optimizer  0.1  0.2           0.02        3        48          blocks.*.weight
router     spectral       as optimizer  0.1  0.2           0.02        1        8           router.weight
output     sign           constant      0.1  0.2           0.02        1        28          lm_head.weight"""


def test_the_table_of_a_small_model() -> None:
    assert sd.describe(sd.param_groups(EveryRole(), lr=0.1, weight_decay=0.2)) == GOLDEN


@pytest.mark.parametrize("optimizer", NAMED_OPTIMIZERS)
@pytest.mark.parametrize("build", MODELS)
def test_every_group_has_a_line_with_its_numbers(build: Callable[[], nn.Module], optimizer: str) -> None:
    groups = sd.param_groups(build(), optimizer, lr=PER_ROLE, weight_decay=0.2)
    header, *lines = sd.describe(groups).splitlines()[: len(groups) + 1]
    assert header.split()[:2] == ["role", "norm"]
    for group, line in zip(groups, lines, strict=True):
        count = sum(parameter.numel() for parameter in group["params"])
        assert line.startswith(group["role"])
        assert re.search(rf" {group['lr']} .* {len(group['params'])} +{count:,} ", line)
        assert all(re.sub(r"\.\d+\.", ".*.", name) in line for name in group["param_names"])


def cells(groups: Any, role: str) -> list[str]:
    (line,) = [line for line in sd.describe(groups).splitlines() if line.startswith(role)]
    return re.split(r"  +", line)


def test_an_optimizer_shows_its_rules_and_the_decay_of_its_next_step() -> None:
    optimizer = sd.ScionC(sd.param_groups(EveryRole(), lr=0.1, weight_decay=0.2), lr=1.0)
    for group in optimizer.param_groups:
        group["lr"] = 0.05
    # A quarter of 0.02 where the decay follows lr², half where it follows lr.
    assert cells(optimizer.param_groups, "hidden")[1:6] == ["spectral", "corrected", "0.05", "0.2", "0.005"]
    assert cells(optimizer.param_groups, "output")[1:6] == ["sign", "constant", "0.05", "0.2", "0.01"]


def test_a_wanted_norm_is_shown_and_its_decay_once_an_optimizer_knows_it() -> None:
    groups = sd.param_groups(EveryRole(), lr=0.1, overrides={"blocks.*.weight": {"steady_norm_sq": 4.75}})
    assert cells(groups, "hidden")[3:6] == ["0.1", "for S = 4.75", "3"]
    optimizer = sd.ScionC(groups, lr=1.0)
    assert cells(optimizer.param_groups, "hidden")[3:6] == ["0.1", "for S = 4.75", "0.02"]


def test_tensor_hyperparameters_are_shown_as_numbers() -> None:
    groups = [{"params": [torch.zeros(1200, 2)], "lr": torch.tensor(0.5), "weight_decay": torch.tensor(0.25)}]
    expected = "0.5  0.25          0.125       1        2,400"
    assert expected in sd.describe(groups)
    assert expected in sd.describe(sd.Scion(groups, lr=1.0).param_groups)


def test_a_norm_with_settings_is_shown_with_them() -> None:
    optimizer = sd.Scion([torch.zeros(4, 2)], lr=0.1, norm=Spectral(scale="max"))
    assert "spectral(scale=max)" in sd.describe(optimizer.param_groups)


def test_groups_of_another_optimizer_can_be_shown() -> None:
    groups = torch.optim.SGD(nn.Linear(3, 2).parameters(), lr=0.1, weight_decay=0.01).param_groups
    assert "as optimizer  0.1  0.01          0.001       2        8" in sd.describe(groups)
    assert "as optimizer  0.1                            1        3" in sd.describe(
        [{"params": [torch.zeros(3)], "lr": 0.1}]
    )


class Guessed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(4, 4) for _ in range(2)])
        self.register_parameter("mixing", nn.Parameter(torch.zeros(4, 4)))
        self.top = nn.Linear(4, 3)


def notes(groups: Any) -> list[str]:
    return sd.describe(groups).splitlines()[len(groups) + 1 :]


@pytest.mark.parametrize("optimizer", ["scionc", "adamw"])
def test_what_was_guessed_is_said_below_the_table(optimizer: str) -> None:
    groups = sd.param_groups(Guessed(), optimizer, lr=0.1)
    expected = [
        "mixing: treated as 'hidden' because it is a parameter of Guessed with 2 axes whose name does not tell "
        "its role; pass overrides={...: {'role': ...}} if that is wrong.",
        "top.weight: treated as 'output' because it is the last Linear; pass output=... if that is wrong.",
    ]
    assert sorted(notes(groups)) == expected
    of_optimizer = torch.optim.AdamW(groups) if optimizer == "adamw" else sd.ScionC(groups, lr=0.1)
    assert sorted(notes(of_optimizer.param_groups)) == expected


def test_what_is_said_is_not_guessed() -> None:
    overrides = {"mixing": {"role": "vector"}}
    assert notes(sd.param_groups(Guessed(), lr=0.1, output="top", overrides=overrides)) == []
    assert "treated as 'output'" in notes(sd.param_groups(Guessed(), lr=0.1, overrides=overrides))[0]


def test_names_that_differ_in_numbers_are_one_in_a_note_and_a_single_one_keeps_its_number() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(Guessed(), Guessed()), nn.Linear(4, 3))
    several, single = sorted(notes(sd.param_groups(model, lr=0.1)), key=lambda note: "output" in note)
    assert several.startswith("1.*.mixing: treated as 'hidden'")
    assert single.startswith("2.weight: treated as 'output'")


def test_guesses_survive_a_checkpoint_of_the_optimizer(tmp_path: Any) -> None:
    """The notes are plain strings, which torch loads without trusting the file."""
    optimizer = torch.optim.AdamW(sd.param_groups(Guessed(), "adamw", lr=0.1))
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    other = torch.optim.AdamW(sd.param_groups(Guessed(), "adamw", lr=0.1))
    other.load_state_dict(torch.load(tmp_path / "optimizer.pt", weights_only=True))
    assert notes(other.param_groups) == notes(optimizer.param_groups)


@pytest.mark.parametrize("pattern", ["blocks.0.weight", "module.blocks.0.weight"])
def test_an_override_may_leave_out_what_a_wrapper_adds(pattern: str) -> None:
    groups = sd.param_groups(nn.DataParallel(Guessed()), lr=0.1, overrides={pattern: {"lr": 0.7}})
    assert [group["param_names"] for group in groups if group["lr"] == 0.7] == [["module.blocks.0.weight"]]


# --- init_ ---


def norms_of(group: Mapping[str, Any]) -> list[Tensor]:
    return [norm_for(group["norm"], p.ndim).norm(p.detach()) for p in group["params"]]


@pytest.mark.parametrize("from_optimizer", [False, True])
@pytest.mark.parametrize("build", MODELS)
def test_init_gives_every_weight_norm_one_and_leaves_vectors(
    build: Callable[[], nn.Module], from_optimizer: bool
) -> None:
    model = build()
    groups: list[dict[str, Any]] = sd.param_groups(model, lr=0.1)
    chosen = sd.Scion(groups, lr=1.0).param_groups if from_optimizer else groups
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    sd.init_(chosen, torch.Generator().manual_seed(0))
    for group in groups:
        if group["role"] == "vector":
            assert all(torch.equal(model.get_parameter(name), before[name]) for name in group["param_names"])
            continue
        assert all(not torch.equal(model.get_parameter(name), before[name]) for name in group["param_names"])
        for norm in norms_of(group):
            torch.testing.assert_close(norm, torch.ones_like(norm), rtol=1e-5, atol=0)


def test_init_draws_from_the_generator_it_is_given() -> None:
    def drawn(seed: int) -> Tensor:
        model = EveryRole()
        sd.init_(sd.param_groups(model, lr=0.1), torch.Generator().manual_seed(seed))
        return model.blocks[0].get_parameter("weight").detach()

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


def test_init_follows_the_norm_of_an_override_and_the_role_of_a_vector() -> None:
    model = EveryRole()
    overrides = {"blocks.0.weight": {"norm": "col_norm"}, "blocks.1.weight": {"role": "vector"}}
    groups = sd.param_groups(model, lr=0.1, overrides=overrides)
    before = model.blocks[1].get_parameter("weight").detach().clone()
    sd.init_(groups)
    assert torch.equal(model.blocks[1].get_parameter("weight"), before)
    columns = model.blocks[0].get_parameter("weight").detach().square().mean(dim=0).sqrt()
    torch.testing.assert_close(columns, torch.ones(4))


def test_init_changes_neither_the_state_nor_the_next_step_of_an_optimizer() -> None:
    """Initialisation inside the first step happened even at lr = 0 (HeavyBall)."""
    model = EveryRole()
    optimizer = sd.Scion(sd.param_groups(model, lr=0.1), lr=1.0)
    sd.init_(optimizer.param_groups)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())


def test_init_needs_norms_and_changes_nothing_without() -> None:
    model = EveryRole()
    groups = sd.param_groups(model, lr=0.1)
    del groups[-1]["norm"]
    before = [parameter.detach().clone() for parameter in model.parameters()]
    with pytest.raises(ValueError, match=r"group with role 'output' has no norm; use param_groups\(model, 'scion'"):
        sd.init_(groups)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True))


def test_the_optimizer_takes_its_norms_from_the_same_table() -> None:
    assert set(NORM_OF_ROLE) == set(ROLES)
    optimizer = sd.Scion([{"params": [torch.zeros(4, 3, 2)], "role": "conv"}], lr=0.1)
    assert optimizer.param_groups[0]["norm"] == NORM_OF_ROLE["conv"]
