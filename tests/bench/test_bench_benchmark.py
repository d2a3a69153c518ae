"""A whole run on a tiny set: every contestant takes part or is said to be missing, and does its work."""

from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any

import pytest
import torch

from steadydecay.bench import benchmark as module
from steadydecay.bench.benchmark import benchmark, imported, matching
from steadydecay.bench.contender_weights import ModelWeights
from steadydecay.bench.peers import CONTESTANTS, REFERENCE, Contestant, torch_adamw, torch_muon
from steadydecay.bench.results import Result
from steadydecay.bench.shape_sets import SHAPE_SETS, ShapeSet, matrices, vectors
from steadydecay.bench.shape_sets import Entry as E

CPU = torch.device("cpu")
TINY = ShapeSet(3, matrices(up=(32, 16), down=(16, 32)) + vectors(gain=16), (E("tokens", (40, 16), "output"),))
PARAMETERS = 3 * (2 * 32 * 16 + 16) + 40 * 16


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, one_cpu_thread: None) -> None:
    """A tiny set and tiny products, and no compiler."""
    monkeypatch.setitem(SHAPE_SETS, "tiny", TINY)
    monkeypatch.setattr("steadydecay.bench.product_times.SIDES", {"cpu": (32,)})
    for name in imported(["heavyball-muon"], CPU)[0]:
        monkeypatch.setattr(import_module(CONTESTANTS[name].module).utils, "compile_mode", None)


def run(*only: str, **changes: Any) -> Result:
    settings: dict[str, Any] = {"repetitions": 3, "device": CPU, "layers": None}
    settings |= {"command": "steadydecay bench", "say": lambda _: None, **changes}
    return benchmark(settings.pop("shape_set", "tiny"), only, **settings)


@pytest.fixture(scope="module")
def whole() -> Result:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SHAPE_SETS, "tiny", TINY)
        patch.setattr("steadydecay.bench.product_times.SIDES", {"cpu": (32,)})
        for name in imported(["heavyball-muon"], CPU)[0]:
            patch.setattr(import_module(CONTESTANTS[name].module).utils, "compile_mode", None)
        return run()


def test_every_contestant_has_a_row_or_a_reason(whole: Result) -> None:
    rows = [row.name for row in whole.rows]
    assert sorted([*rows, *whole.missing]) == sorted(CONTESTANTS)
    assert rows[0] == REFERENCE
    assert set(whole.missing) >= {"pytorch-optimizer-muon-gram"}
    assert "float16" in whole.missing["pytorch-optimizer-muon-gram"]


def test_no_contestant_skips_its_work(whole: Result) -> None:
    assert {row.name: row.faults for row in whole.rows if row.faults} == {}
    for row in whole.rows:
        assert len(row.polar_errors) == (2 if CONTESTANTS[row.name].is_spectral else 0)
        assert all(0 < error < 0.6 for error in row.polar_errors)


def test_times_are_beside_those_of_the_reference_in_the_same_run(whole: Result) -> None:
    (reference,) = [row for row in whole.rows if row.name == REFERENCE]
    assert all(row.reference_times == reference.times for row in whole.rows)
    assert all(len(row.times) == len(row.reference_times) == 3 and min(row.times) > 0 for row in whole.rows)
    assert {dtype: len(rates) for dtype, rates in whole.rates.items()} == dict.fromkeys(whole.least_work, 3)


def test_state_is_what_each_optimizer_is_known_to_hold(whole: Result) -> None:
    """In float32, and AdamW's step counters beside."""
    held = {row.name: row.state_bytes for row in whole.rows}
    assert held["scionc"] == held["lion"] == held["pytorch-optimizer-scion"] == 4 * PARAMETERS
    assert held["scionc-memory-light"] == 0
    assert held["torch-adamw-fused"] == 8 * PARAMETERS + 4 * 10
    # One momentum of the matrices, two of the table and the gains.
    assert held["torch-muon"] == 4 * 3 * 2 * 32 * 16 + 8 * (3 * 16 + 40 * 16) + 4 * 4


def test_fused_adamw_takes_nothing_beside_its_state_and_foreach_a_copy_of_all(whole: Result) -> None:
    extra = {row.name: row.extra_bytes for row in whole.rows}
    assert extra["torch-adamw-fused"] < 100
    assert extra["torch-adamw-foreach"] == pytest.approx(4 * PARAMETERS, rel=0.05)


def test_the_result_says_what_it_is_of(whole: Result) -> None:
    assert (whole.shape_set, whole.layers, whole.all_layers, whole.parameters) == ("tiny", 3, 3, PARAMETERS)
    assert whole.plain_work == 6 * 5 * (4 * 16**2 * 32 + 2 * 16**3)
    assert whole.least_work["float32"] == 6 * (4 * 16**2 * 32 + 34 * 16**3)
    assert {"torch", "pytorch_optimizer"} <= set(whole.versions)
    assert whole.date.startswith("20")


def test_a_set_may_be_cut() -> None:
    found = run("adamc", layers=1)
    assert (found.layers, found.all_layers) == (1, 3)
    assert found.parameters == 2 * 32 * 16 + 16 + 40 * 16


def test_groups_that_fit_into_memory_are_each_beside_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "require_room", lambda *_: 2)
    said: list[str] = []
    found = run("torch-*", "lion", repetitions=2, say=said.append)
    assert [row.name for row in found.rows] == [
        REFERENCE,
        "torch-muon",
        "lion",
        "torch-adamw-fused",
        "torch-adamw-foreach",
    ]
    assert said.count("scionc: first steps") == 2
    assert said.count("repetition 2 of 2") == 2
    assert {len(rates) for rates in found.rates.values()} == {4}
    first, second = found.rows[1].reference_times, found.rows[-1].reference_times
    assert len(first) == len(second) == 2
    assert first != second


def test_the_reference_alone_is_a_run() -> None:
    assert [row.name for row in run(REFERENCE, repetitions=1).rows] == [REFERENCE]


def test_a_contestant_that_fails_is_missing_with_its_error_but_ours_stops_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: Any) -> Any:
        raise RuntimeError("no kernel for this\nand more")

    monkeypatch.setitem(CONTESTANTS, "torch-muon", replace(CONTESTANTS["torch-muon"], make=fails))
    assert run("torch-muon", repetitions=1).missing == {"torch-muon": "RuntimeError: no kernel for this"}
    monkeypatch.setitem(CONTESTANTS, "adamc", replace(CONTESTANTS["adamc"], make=fails))
    with pytest.raises(RuntimeError, match="no kernel"):
        run("adamc", repetitions=1)


def test_a_package_that_fails_on_import_is_missing_with_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = Contestant("no_such_package", torch_muon, "no-such-package")
    monkeypatch.setitem(CONTESTANTS, "absent", absent)
    found = run("absent", repetitions=1)
    assert found.missing == {"absent": "ModuleNotFoundError: No module named 'no_such_package'"}
    assert [row.name for row in found.rows] == [REFERENCE]


def lazy(_: Any, weights: ModelWeights) -> list[torch.optim.Optimizer]:
    """Muon that leaves out the last matrix, and AdamW's step on matrices."""
    every = ModelWeights([], weights.matrices[:-1] + weights.tables + weights.vectors, [])
    return torch_adamw(None, every)


def writes(_: Any, weights: ModelWeights) -> list[torch.optim.Optimizer]:
    return [torch.optim.SGD(weights.every(), lr=0.1, maximize=True, foreach=False), Doubles(weights.every(), {})]


class Doubles(torch.optim.Optimizer):
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad *= 2


def test_work_that_is_not_done_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONTESTANTS, "lazy", Contestant("torch", lazy, "torch"))
    monkeypatch.setitem(CONTESTANTS, "writes", Contestant("torch", writes, "torch", is_spectral=False))
    rows = {row.name: row for row in run("lazy", "writes", repetitions=1).rows}
    unmoved, spread = rows["lazy"].faults
    assert unmoved == "1 of 10 parameters not moved, or not to finite numbers"
    assert spread.startswith("singular values from 0.")
    assert rows["writes"].faults == ["writes to its gradients"]


def test_patterns_choose_contestants_in_the_order_of_the_table() -> None:
    assert matching(["torch-a*", "lion"]) == [REFERENCE, "lion", "torch-adamw-fused", "torch-adamw-foreach"]
    assert matching([]) == list(CONTESTANTS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shape_set": "gpt2-smal"}, r"set is 'gpt2-smal'; it must be one of gpt-mini, .*did you mean 'gpt2-small'\?"),
        ({"repetitions": 0}, "repetitions is 0; it must be 1 or more"),
        ({"layers": 0}, "layers is 0; it must be 1 or more"),
    ],
)
def test_a_bad_argument_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(**settings)


def test_a_pattern_that_matches_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"only is 'torch-moun'; it must be one of .*did you mean 'torch-muon'\?"):
        run("adamc", "torch-moun")


def test_a_set_that_does_not_fit_is_refused_before_anything_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "memory_of", lambda _: 24 * 10**9)
    monkeypatch.setattr(module, "random_gradients", partial(pytest.fail, "gradients were made"))
    with pytest.raises(ValueError, match=r"set 'gpt2-xl' with 48 layers has 1.56 billion parameters.*use --layers \d+"):
        run(shape_set="gpt2-xl")
