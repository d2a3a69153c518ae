"""Each adapter makes optimizers that hold every parameter once, and asks for five steps."""

from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from steadydecay.bench.contender_weights import ModelWeights, zero_weights
from steadydecay.bench.peers import CONTESTANTS, REFERENCE, Contestant
from steadydecay.bench.shape_sets import Entry

CPU = torch.device("cpu")
ENTRIES = [Entry("a", (4, 6), "hidden"), Entry("table", (9, 6), "output"), Entry("gain", (6,), "vector")]
WITHOUT_VECTORS = ENTRIES[:2]
INSTALLED = [name for name, contestant in CONTESTANTS.items() if find_spec(contestant.module.partition(".")[0])]


class Recorded(torch.optim.Optimizer):
    """What an adapter asks of a package that is not installed here."""

    def __init__(self, params: Any, **arguments: Any) -> None:
        super().__init__(params, arguments)

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.data.sub_(parameter.grad)


STAND_IN = SimpleNamespace(Muon=Recorded, NorMuon=Recorded, Scion=Recorded)


def made(contestant: Contestant, weights: ModelWeights, module: Any) -> list[torch.optim.Optimizer]:
    for weight in weights.every():
        weight.grad = torch.ones_like(weight)
    return contestant.make(module, weights)


def test_ours_and_those_of_torch_and_pytorch_optimizer_are_installed() -> None:
    assert {REFERENCE, "adamc", "lion", "torch-muon", "torch-adamw-fused", "pytorch-optimizer-scion"} <= set(INSTALLED)


@pytest.mark.parametrize("entries", [ENTRIES, WITHOUT_VECTORS], ids=["all roles", "no vectors"])
@pytest.mark.parametrize("name", CONTESTANTS)
def test_every_parameter_is_in_one_group_and_moves(name: str, entries: list[Entry], monkeypatch: Any) -> None:
    contestant, weights = CONTESTANTS[name], zero_weights(entries, CPU)
    if contestant.module == "heavyball" and name in INSTALLED:
        monkeypatch.setattr(import_module("heavyball").utils, "compile_mode", None)
    optimizers = made(contestant, weights, import_module(contestant.module) if name in INSTALLED else STAND_IN)
    held = [id(one) for optimizer in optimizers for group in optimizer.param_groups for one in group["params"]]
    assert sorted(held) == sorted(map(id, weights.every()))
    for optimizer in optimizers:
        optimizer.step()
    assert all(bool(weight.any()) for weight in weights.every())


def group_of(name: str, kind: str, module: Any = STAND_IN) -> dict[str, Any]:
    """The settings of the matrices, tables or vectors."""
    weights = zero_weights(ENTRIES, CPU)
    for optimizer in made(CONTESTANTS[name], weights, module):
        for group in optimizer.param_groups:
            if any(one is getattr(weights, kind)[0] for one in group["params"]):
                return group
    raise AssertionError(kind)


@pytest.mark.parametrize(("name", "setting"), [("emerging-scion", "num_ns_steps"), ("emerging-muon", "num_ns_steps")])
def test_five_steps_are_asked_for(name: str, setting: str) -> None:
    assert group_of(name, "matrices")[setting] == 5


def test_five_steps_are_asked_of_installed_packages() -> None:
    package = import_module("pytorch_optimizer")
    assert group_of("torch-muon", "matrices", torch)["ns_steps"] == 5
    assert group_of("pytorch-optimizer-muon", "matrices", package)["ns_steps"] == 5
    assert group_of("pytorch-optimizer-scion", "matrices", package)["norm_kwargs"] == {"num_steps": 5}


@pytest.mark.parametrize("name", ["dion-muon", "dion-normuon"])
def test_dion_never_flattens(name: str) -> None:
    assert group_of(name, "matrices")["flatten"] is False
    assert group_of(name, "matrices")["algorithm"] == name.removeprefix("dion-")
    assert group_of(name, "tables")["algorithm"] == "adamw"


def test_scion_takes_the_sign_on_tables() -> None:
    package = import_module("pytorch_optimizer")
    norms = import_module("pytorch_optimizer.optimizer.scion").LMONorm
    assert group_of("pytorch-optimizer-scion", "tables", package)["norm_type"] == norms.SIGN
    assert group_of("scionc", "tables")["norm"] == "sign"
    assert group_of("scionc", "matrices")["norm"] == "spectral"
    assert group_of("scionc", "vectors")["norm"] == "bias"


@pytest.mark.parametrize("name", ["torch-muon", "heavyball-muon", "heavyball-scion", "emerging-muon"])
def test_muon_has_fused_adamw_on_tables(name: str) -> None:
    module = torch if name == "torch-muon" else STAND_IN
    assert group_of(name, "tables", module)["fused"] is True
    assert "fused" not in group_of(name, "matrices", module)
