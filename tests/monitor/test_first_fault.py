"""A NaN or an infinity is named once by layer and step, and its layers have a verdict of their own."""

import json
import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import steadydecay as sd
from steadydecay.monitor.first_fault import with_first_fault
from steadydecay.monitor.numbers import geometric_mean
from steadydecay.run_log.record import json_line

Build = Callable[[list[Any]], torch.optim.Optimizer]
BUILDS: dict[str, Build] = {
    "scion": lambda params: sd.ScionC(params, 1e-2, weight_decay=0.5),
    "lion": lambda params: sd.Lion(params, 1e-2, weight_decay=0.5),
    "sgdw": lambda params: sd.SGDW(params, 1e-2, 0.9, weight_decay=0.5),
    "torch adamw": lambda params: torch.optim.AdamW(params, 1e-2, weight_decay=0.5),
}


def run(optimizer: torch.optim.Optimizer, steps: range, bad: dict[int, tuple[int, ...]], fill: float) -> None:
    """`bad` names, by step, the positions of weights whose gradient has one entry that is `fill`."""
    weights = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for step in steps:
        for position, weight in enumerate(weights):
            weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(step))
            if position in bad.get(step, ()):
                weight.grad[1, 1] = fill
        optimizer.step()


def three_layers() -> list[tuple[str, Any]]:
    torch.manual_seed(0)
    return [(f"layer.{index}", nn.Parameter(torch.randn(6, 4))) for index in range(3)]


@pytest.mark.parametrize("fill", [math.nan, math.inf])
@pytest.mark.parametrize("name", BUILDS)
def test_the_first_layer_and_step_are_named_once(name: str, fill: float) -> None:
    optimizer = BUILDS[name](three_layers())
    watch = sd.watch(optimizer)
    run(optimizer, range(1, 4), {}, fill)
    assert "not_finite" not in watch.record()
    run(optimizer, range(4, 5), {4: (1, 2)}, fill)
    with pytest.warns(
        UserWarning, match=r"gradient_norm of 'layer\.1' is not finite at the measured step 4, as in 2 layers in all"
    ):
        record = watch.record()
    assert record["not_finite"] == {"step": 4, "layer": "layer.1", "measure": "gradient_norm", "layers": 2}
    run(optimizer, range(5, 8), {6: (0,)}, fill)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        later = watch.record()
    assert later["not_finite"] == record["not_finite"]
    assert list(later["verdicts"].values()) == ["not finite"] * 3
    json.loads(json_line({"kind": "watch", "step": 7, **later}))


@pytest.mark.parametrize(("name", "measure"), [("scion", "momentum_norm"), ("lion", "momentum_norm")])
def test_what_came_between_two_measured_steps_is_seen_at_the_next(name: str, measure: str) -> None:
    optimizer = BUILDS[name](three_layers())
    watch = sd.watch(optimizer, every=5)
    run(optimizer, range(1, 11), {7: (2,)}, math.nan)
    with pytest.warns(UserWarning, match=r"'layer\.2' .* 1 layers in all"):
        record = watch.record()
    assert record["not_finite"] == {"step": 10, "layer": "layer.2", "measure": measure, "layers": 1}
    assert [verdict == "not finite" for verdict in watch.verdicts().values()] == [False, False, True]


def test_the_first_fault_stays_through_a_checkpoint() -> None:
    optimizer = sd.Lion(three_layers(), 1e-2)
    watch = sd.watch(optimizer)
    run(optimizer, range(1, 3), {2: (0,)}, math.nan)
    with pytest.warns(UserWarning, match="measured step 2"):
        state = watch.state_dict()
    resumed = sd.watch(optimizer)
    resumed.load_state_dict(state)
    run(optimizer, range(3, 4), {}, math.nan)
    assert resumed.record()["not_finite"]["step"] == 2


def test_no_share_or_mean_is_made_of_what_is_not_finite() -> None:
    optimizer = sd.ScionC(three_layers(), 1e-2)
    watch = sd.watch(optimizer)
    run(optimizer, range(1, 3), {2: (0,)}, math.nan)
    with pytest.warns(UserWarning, match="not finite"):
        metrics = watch.metrics()
    for measure in ("parallel_share", "perpendicular_share", "update_cosine", "rotation", "drift"):
        value = metrics.get(f"layer/layer.0/{measure}", math.nan)
        assert math.isnan(value), (measure, value)
    assert math.isnan(metrics["group/group_0/spectral_geometric_mean"])
    assert math.isnan(geometric_mean([1.0, math.nan]) or 0.0)


def test_a_record_without_layers_has_no_fault() -> None:
    assert with_first_fault({"layers": {}}, {}, 3) == {"layers": {}}
    before = {"not_finite": {"step": 1, "layer": "a", "measure": "weight_norm", "layers": 1}}
    assert with_first_fault({"layers": {"b": {"weight_norm": math.inf}}}, before, 3)["not_finite"]["layer"] == "a"
