"""States of real optimizers, wherever a checkpoint keeps them and under whatever key."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict, get_state_dict

import steadydecay as sd
from steadydecay.inspection.optimizer_states import holds_state, optimizer_states
from steadydecay.inspection.stored_settings import stored_settings
from steadydecay.inspection.stored_weight import StoredWeight


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 4))


def stepped(model: nn.Module, lr: float = 1e-3) -> torch.optim.Optimizer:
    optimizer = torch.optim.AdamW(model.parameters(), lr, weight_decay=0.1)
    model(torch.ones(2, 6)).sum().backward()
    optimizer.step()
    return optimizer


STATE = stepped(network()).state_dict()
SETTINGS_OF_REAL: dict[str, Any] = {
    "at the top": STATE,
    "opt_g": {"net": {}, "opt_g": STATE},
    "optim_g and optim_d": {"optim_g": STATE, "optim_d": STATE},
    "optimizer_state": {"optimizer_state": STATE},
    "a list": {"optimizers": [STATE, STATE]},
    "a dict of them": {"optimizers": {"generator": STATE}},
    "deep": {"trainer": {"engine": [{"inner": (STATE,)}]}},
    "an int key": {7: STATE},
}


@pytest.mark.parametrize("case", SETTINGS_OF_REAL)
def test_a_state_is_found_under_any_key(case: str) -> None:
    weights = [StoredWeight(name, tuple(one.shape), "float32") for name, one in network().named_parameters()]
    found = stored_settings(optimizer_states(SETTINGS_OF_REAL[case]), weights, "peak")
    assert {name: one.group["weight_decay"] for name, one in found.items()} == {one.name: 0.1 for one in weights}
    assert {one.group["lr"] for one in found.values()} == {1e-3}


def test_a_flat_state_of_torch_distributed_has_the_settings_of_the_nested_one() -> None:
    model = network()
    optimizer = stepped(model)
    flat = get_optimizer_state_dict(model, optimizer, options=StateDictOptions(flatten_optimizer_state_dict=True))
    weights = [StoredWeight(name, tuple(one.shape), "float32") for name, one in model.named_parameters()]
    nested = get_state_dict(model, optimizer)[1]
    of_flat, of_nested = (stored_settings(optimizer_states({"o": one}), weights, "now") for one in (flat, nested))
    assert {name: one.text for name, one in of_flat.items()} == {name: one.text for name, one in of_nested.items()}
    assert len(of_flat) == 4 and holds_state(flat) and holds_state(nested)


AVERAGES: dict[str, Tensor] = {"exp_avg": torch.ones(2), "exp_avg_sq": torch.ones(2)}
NO_GROUPS: dict[str, Any] = {
    "the averages alone": {0: AVERAGES, 1: AVERAGES},
    "averages by name": {"up.weight": {"momentum_buffer": torch.ones(2)}},
    "an unknown optimizer's": {"state": {0: {"secret": torch.ones(2)}}},
    "Adagrad's": STATE["state"],
}


@pytest.mark.parametrize("case", NO_GROUPS)
def test_what_an_optimizer_keeps_of_weights_is_a_state_without_groups_too(case: str) -> None:
    assert holds_state(NO_GROUPS[case]) and optimizer_states(NO_GROUPS[case]) == []


MODELS: dict[str, Any] = {
    "a model": network().state_dict(),
    "modules by text": {"0": {"weight": torch.ones(2)}, "1": {"weight": torch.ones(2)}},
    "a module called state": {"state": {"weight": torch.ones(2)}},
    "a module called param_groups": {"param_groups": {"weight": torch.ones(2)}},
    "nothing": {},
    "a scheduler": {"base_lrs": [0.1], "last_epoch": 3, "_last_lr": [0.1]},
    "a list": [{"lr": 0.1}],
    "text": "param_groups",
}


@pytest.mark.parametrize("case", MODELS)
def test_a_model_is_no_state(case: str) -> None:
    assert not holds_state(MODELS[case]) and optimizer_states(MODELS[case]) == []


def test_containers_that_hold_themselves_are_searched_once() -> None:
    loop: dict[str, Any] = {"optimizer": STATE}
    loop |= {"again": [loop, loop], "more": {"of": loop}}
    doubled: Any = []
    for _ in range(60):
        doubled = [doubled, doubled]
    assert optimizer_states({"loop": loop, "doubled": doubled}) == [STATE]


def test_the_search_ends_at_a_depth() -> None:
    nested: Any = STATE
    for _ in range(10**5):
        nested = {"deeper": nested}
    assert optimizer_states(nested) == []


def test_our_own_state_is_one_too() -> None:
    optimizer = sd.ScionC(sd.param_groups(network(), "scion", lr=0.1, weight_decay=0.1), 0.1)
    assert optimizer_states({"opt": optimizer.state_dict()}) == [optimizer.state_dict()]
