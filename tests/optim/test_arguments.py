"""Every argument of every optimizer, by every way in, with values of the wrong type, length or range."""

import copy
import math
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import steadydecay as sd

Optimizer = torch.optim.Optimizer
PAIRED, SINGLE = (sd.Lion, sd.AdamC, sd.RenormalizedAdamW), (sd.SGDW, sd.ScionC)
ADAMS = (sd.AdamC, sd.RenormalizedAdamW)
EVERY = (*PAIRED, *SINGLE)

# Of no hyperparameter that is a number.
NO_NUMBERS: dict[str, Any] = {
    "nan": math.nan,
    "minus infinity": -math.inf,
    "negative": -1.0,
    "text": "1e-4",
    "bytes": b"1",
    "list": [0.1],
    "tuple": (0.1, 0.2),
    "dict": {},
    "set": {0.1},
    "complex": 1j,
    "object": object(),
    "function": len,
    "array": np.array([0.1]),
    "array of no dimension": np.array(0.1),
    "numpy nan": np.float32(math.nan),
    "tensor of one dimension": torch.tensor([0.5]),
    "tensor of two entries": torch.tensor([0.5, 0.5]),
    "complex tensor": torch.tensor(1j),
    "empty tensor": torch.tensor([]),
    "nan in a tensor": torch.tensor(math.nan),
    "negative in a tensor": torch.tensor(-1),
    "tensor without a value": torch.tensor(0.1, device="meta"),
    "fraction": Fraction(1, 10),
}
NO_PAIRS: dict[str, Any] = {
    **{name: NO_NUMBERS[name] for name in ("text", "dict", "set", "object", "empty tensor", "array of no dimension")},
    "none": None,
    "number": 0.9,
    "numpy number": np.float64(0.9),
    "tensor of no dimension": torch.tensor(0.9),
    "one": (0.9,),
    "three": (0.9, 0.9, 0.9),
    "texts": ("0.9", "0.99"),
    "with none": (None, 0.9),
    "with nan": (0.9, math.nan),
    "above": (0.9, 1.0),
    "below": (-0.1, 0.9),
    "with a tensor of one dimension": (torch.tensor([0.9]), 0.99),
    "with nan in a tensor": (0.9, torch.tensor(math.nan)),
}
NO_FLAGS: dict[str, Any] = {"none": None, "text": "False", "two": 2, "list": [], "tensor": torch.tensor(True)}
# torch reads these two of a state before the optimizer does.
SEVERAL_FLAGS: list[Any] = [np.array([1, 2]), [True], torch.tensor([True, False])]
NO_NAMES: dict[str, Any] = {
    "none": None,
    "number": 1,
    "list": ["corrected"],
    "array": np.zeros(2),
    "other": "of course",
}

ILLEGAL: list[tuple[type[Optimizer], str, Any]] = [
    *((kind, key, value) for kind in EVERY for key in ("lr", "weight_decay") for value in NO_NUMBERS.values()),
    *((kind, "momentum", value) for kind in SINGLE for value in (*NO_NUMBERS.values(), None, 1.0)),
    *((kind, "betas", value) for kind in PAIRED for value in NO_PAIRS.values()),
    *((kind, "lr", None) for kind in EVERY),
    *((kind, "steady_norm_sq", value) for kind in EVERY for value in NO_NUMBERS.values()),
    *((kind, "nesterov", value) for kind in SINGLE for value in NO_FLAGS.values()),
    *((sd.AdamC, key, value) for key in ("amsgrad", "maximize") for value in NO_FLAGS.values()),
    *((kind, key, value) for kind in ADAMS for key in ("fused", "capturable") for value in SEVERAL_FLAGS),
    *((sd.AdamC, "eps", value) for value in (*NO_NUMBERS.values(), None)),
    *((kind, key, value) for kind in EVERY for key in ("decay", "low_precision") for value in NO_NAMES.values()),
    *((sd.ScionC, "memory_light", value) for value in NO_FLAGS.values()),
    *((sd.ScionC, "norm", value) for value in (None, 1, ["sign"], "of course", {}, torch.ones(2), sd.norms.Spectral)),
    *((sd.ScionC, "workspace_bytes", value) for value in (-1, 0.5, "1", torch.tensor(1.5))),
    *((sd.Lion, "foreach", value) for value in ("False", 2, torch.tensor(True))),
]


def shown(case: Any) -> str:
    # The address of an object is not the same in two processes.
    return case.__name__ if isinstance(case, type) else re.sub(r"0x[0-9a-f]+", "", repr(case))[:24]


def weights() -> list[nn.Parameter]:
    return [nn.Parameter(torch.full((4, 3), 2.0)), nn.Parameter(torch.full((4, 3), 3.0))]


def two_groups(kind: Callable[..., Optimizer], second: dict[str, Any]) -> tuple[Optimizer, list[nn.Parameter]]:
    parameters = weights()
    return kind([{"params": parameters[:1]}, {"params": parameters[1:], **second}], lr=0.1), parameters


def step(optimizer: Optimizer, parameters: list[nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()


def told(optimizer: Optimizer) -> str:
    """All that groups and state hold, as text."""
    groups = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    return repr((groups, list(optimizer.state.values())))


def is_refused(key: str, refusal: pytest.ExceptionInfo[Exception]) -> bool:
    """Whether an error names the argument, or what it is the momentum or the rule of, and what it must be."""
    names = {"betas": ("betas", "momentum"), "decay": ("decay",)}.get(key, (key,))
    return any(name in str(refusal.value) for name in names) and "must" in str(refusal.value)


@pytest.mark.parametrize(("kind", "key", "value"), ILLEGAL, ids=shown)
def test_an_illegal_argument_is_refused_by_every_way_in(kind: type[Optimizer], key: str, value: Any) -> None:
    given: dict[str, Any] = {"lr": 0.1, key: value}
    with pytest.raises((ValueError, TypeError)) as in_constructor:
        kind(weights(), **given)
    with pytest.raises((ValueError, TypeError)) as in_group:
        two_groups(kind, {key: value})
    optimizer, _ = two_groups(kind, {})
    before = told(optimizer)
    with pytest.raises((ValueError, TypeError)) as in_added_group:
        optimizer.add_param_group({"params": weights(), key: value})
    assert told(optimizer) == before
    assert all(is_refused(key, refusal) for refusal in (in_constructor, in_group, in_added_group))


# What is asked for once only, and what a step does not look at: the size of a wanted norm, and the form of a norm.
LATER = [case for case in ILLEGAL if case[1] not in ("steady_norm_sq", "decay", "low_precision", "workspace_bytes")]
LATER = [case for case in LATER if not (case[1] == "norm" and isinstance(case[2], str | dict))]


@pytest.mark.parametrize(("kind", "key", "value"), LATER, ids=shown)
def test_an_illegal_value_that_comes_later_moves_no_weight(kind: type[Optimizer], key: str, value: Any) -> None:
    optimizer, parameters = two_groups(kind, {})
    step(optimizer, parameters)
    saved = optimizer.state_dict()
    saved["param_groups"][1][key] = value
    before, weights_before = told(optimizer), copy.deepcopy(parameters)
    with pytest.raises((ValueError, TypeError)) as when_loaded:
        optimizer.load_state_dict(saved)
    assert told(optimizer) == before
    optimizer.param_groups[1][key] = value
    with pytest.raises((ValueError, TypeError)) as in_step:
        step(optimizer, parameters)
    assert all(map(torch.equal, parameters, weights_before))
    assert is_refused(key, when_loaded)
    assert is_refused(key, in_step)


LEGAL: list[tuple[type[Optimizer], dict[str, Any]]] = [
    *((kind, {"betas": [0.9, 0.99]}) for kind in PAIRED),
    *((kind, {"betas": np.array([0.9, 0.99])}) for kind in PAIRED),
    *((kind, {"lr": np.float64(0.1), "weight_decay": np.float32(0.5)}) for kind in EVERY),
    *((kind, {"lr": torch.tensor(0.1), "weight_decay": torch.tensor(0.5)}) for kind in EVERY),
    *((kind, {"momentum": np.float64(0.9), "nesterov": np.bool_(True)}) for kind in SINGLE),
    (sd.AdamC, {"amsgrad": 1, "maximize": np.bool_(False), "eps": np.float64(1e-8)}),
]


@pytest.mark.parametrize(("kind", "arguments"), LEGAL, ids=shown)
def test_numbers_flags_and_pairs_of_other_packages_are_taken(kind: type[Optimizer], arguments: dict[str, Any]) -> None:
    parameters = weights()
    optimizer: Optimizer = kind(parameters, **{"lr": 0.1, **arguments})  # pyright: ignore[reportCallIssue]
    step(optimizer, parameters)
    assert not torch.equal(parameters[0], weights()[0])


def test_a_tensor_lr_that_decays_more_than_the_weight_is_refused() -> None:
    optimizer, parameters = two_groups(sd.AdamC, {})
    optimizer.param_groups[1]["lr"] = torch.tensor(1e9)
    with pytest.raises(ValueError, match=r"lr · weight_decay of group 1 is .*; it must be in \[0, 1\)"):
        step(optimizer, parameters)
    assert all(map(torch.equal, parameters, weights()))


def test_capturable_on_the_host_is_refused_before_another_group_has_moved() -> None:
    optimizer, parameters = two_groups(sd.AdamC, {"capturable": True})
    with pytest.raises(ValueError, match="capturable of group 1 is True; it must be False for weights on the CPU"):
        step(optimizer, parameters)
    assert torch.equal(parameters[0], weights()[0])


def test_amsgrad_that_comes_later_is_refused_before_another_group_has_moved() -> None:
    optimizer, parameters = two_groups(sd.AdamC, {})
    step(optimizer, parameters)
    before = copy.deepcopy(parameters)
    optimizer.param_groups[1]["amsgrad"] = True
    with pytest.raises(ValueError, match="lacks 'max_exp_avg_sq'"):
        step(optimizer, parameters)
    assert all(map(torch.equal, parameters, before))
