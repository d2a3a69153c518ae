"""State follows weights that are cast, exchanged or loaded; what no step could use is refused before a weight moves."""

import copy
import math
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_contract import same_bits, values
from torch import Tensor, nn

import steadydecay as sd

# Half a unit in the last place of bfloat16 is more: without compensation there is no decay at all.
LR, DECAY, STEPS = 1e-3, 1e-3, 200
LEFT = (1 - DECAY) ** STEPS

Build = Callable[..., torch.optim.Optimizer]
BUILDS: dict[str, Build] = {
    "scion": lambda params, **keys: sd.Scion(params, LR, norm="bias", weight_decay=DECAY / LR, **keys),
    "lion": lambda params, **keys: sd.Lion(params, LR, weight_decay=DECAY / LR, **keys),
    "sgdw": lambda params, **keys: sd.SGDW(params, LR, 0.9, weight_decay=DECAY / LR, **keys),
    "adamc": lambda params, **keys: sd.AdamC(params, LR, weight_decay=DECAY / LR, **keys),
    "adamc_fused": lambda params, **keys: sd.AdamC(params, LR, weight_decay=DECAY / LR, fused=True, **keys),
    "renormalized": lambda params, **keys: sd.RenormalizedAdamW(
        params, LR, weight_decay=DECAY / LR, **{"low_precision": "compensated", **keys}
    ),
}
over_optimizers = pytest.mark.parametrize("name", BUILDS)


def model(dtype: torch.dtype = torch.float32) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(32, 2).to(dtype)


def run(optimizer: torch.optim.Optimizer, steps: int = STEPS, fill: float = 0.0) -> None:
    for _ in range(steps):
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.full_like(parameter, fill)
        optimizer.step()


def norm(weight: Tensor) -> float:
    return weight.detach().double().norm().item()


def left_of(optimizer: torch.optim.Optimizer, weight: Tensor) -> float:
    """What the decay leaves of the norm."""
    before = norm(weight)
    run(optimizer)
    return norm(weight) / before


def loaded_from_float32(name: str, low: nn.Linear) -> torch.optim.Optimizer:
    wide = BUILDS[name](list(model().parameters()))
    run(wide, 1)
    optimizer = BUILDS[name](list(low.parameters()))
    optimizer.load_state_dict(wide.state_dict())
    return optimizer


def cast_whole(name: str, low: nn.Linear) -> torch.optim.Optimizer:
    optimizer = BUILDS[name](list(low.float().parameters()))
    run(optimizer, 1)
    low.bfloat16()
    return optimizer


def cast_one_of_two(name: str, low: nn.Linear) -> torch.optim.Optimizer:
    """A weight that was in bfloat16 from the beginning stands beside it in the same batch."""
    low.float().bias.data = low.bias.data.bfloat16()
    optimizer = BUILDS[name](list(low.parameters()))
    run(optimizer, 1)
    low.weight.data = low.weight.data.bfloat16()
    return optimizer


def cast_a_copy(name: str, low: nn.Linear) -> torch.optim.Optimizer:
    optimizer = BUILDS[name](list(low.float().parameters()))
    twin = pickle.loads(pickle.dumps(optimizer))
    twin.param_groups[0]["params"][:] = list(low.parameters())
    low.bfloat16()
    return twin


def loaded_without_the_key(name: str, low: nn.Linear) -> torch.optim.Optimizer:
    """As a version without low precision, or torch's AdamW, saves it."""
    state = BUILDS[name](list(model().parameters())).state_dict()
    del state["param_groups"][0]["low_precision"]
    optimizer = BUILDS[name](list(low.parameters()))
    optimizer.load_state_dict(state)
    return optimizer


def loaded_without_state(name: str, low: nn.Linear) -> torch.optim.Optimizer:
    """As torch saves what has never had a gradient."""
    state = BUILDS[name](list(low.parameters())).state_dict()
    state["state"].clear()
    optimizer = BUILDS[name](list(low.parameters()))
    optimizer.load_state_dict(state)
    return optimizer


def cleared(name: str, low: nn.Linear) -> torch.optim.Optimizer:
    optimizer = BUILDS[name](list(low.parameters()))
    run(optimizer, 1)
    optimizer.state.clear()
    return optimizer


def exchanged(name: str, low: nn.Linear) -> torch.optim.Optimizer:
    """As wrappers do that shard a model after its optimizer was built."""
    optimizer = BUILDS[name](list(model().parameters()))
    run(optimizer, 1)
    optimizer.param_groups[0]["params"] = list(low.parameters())
    return optimizer


def through_float16(name: str, low: nn.Linear) -> torch.optim.Optimizer:
    """The unit of a remainder is another in another dtype."""
    # Adam's ε is 0 in float16.
    keys = {"eps": 1e-4} if "betas" in BUILDS[name](list(low.parameters())).param_groups[0] and name != "lion" else {}
    optimizer = BUILDS[name](list(low.half().parameters()), **keys)
    run(optimizer, 1)
    low.bfloat16()
    return optimizer


WAYS = [
    loaded_from_float32,
    cast_whole,
    cast_one_of_two,
    cast_a_copy,
    loaded_without_the_key,
    loaded_without_state,
    cleared,
    exchanged,
    through_float16,
]


@pytest.mark.parametrize("way", WAYS)
@over_optimizers
def test_the_decay_of_bfloat16_weights_is_kept(name: str, way: Callable[[str, nn.Linear], Any]) -> None:
    low = model(torch.bfloat16)
    optimizer = way(name, low)
    assert low.weight.dtype == torch.bfloat16
    assert left_of(optimizer, low.weight) == pytest.approx(LEFT, rel=5e-3)


@over_optimizers
def test_weights_that_are_cast_up_go_on_without_a_remainder(name: str) -> None:
    low = model(torch.bfloat16)
    optimizer = BUILDS[name](list(low.parameters()))
    run(optimizer, 3)
    low.float()
    assert left_of(optimizer, low.weight) == pytest.approx(LEFT, rel=1e-5)
    moments = [value for key, value in optimizer.state[low.weight].items() if value.ndim]
    assert moments and all(value.dtype == torch.float32 for value in moments)
    assert "compensation" not in optimizer.state[low.weight]


def test_memory_light_weights_that_are_cast_are_rounded_at_random() -> None:
    low = model()
    optimizer = sd.Scion(list(low.parameters()), LR, norm="bias", weight_decay=DECAY / LR, memory_light=True)
    run(optimizer, 1)
    low.bfloat16()
    assert left_of(optimizer, low.weight) == pytest.approx(LEFT, rel=0.02)
    assert optimizer.param_groups[0]["rounding_step"].item() == STEPS
    assert not optimizer.state


@over_optimizers
def test_momentum_survives_a_cast(name: str) -> None:
    low = model()
    optimizer = BUILDS[name](list(low.parameters()))
    run(optimizer, 3, fill=1.0)
    key = "momentum" if "momentum" in optimizer.state[low.weight] else "exp_avg"
    before = optimizer.state[low.weight][key].clone()
    low.bfloat16()
    optimizer.param_groups[0]["lr"] = 0.0
    optimizer.param_groups[0].update({"momentum": 0.0} if name in ("scion", "sgdw") else {})
    for parameter in low.parameters():
        parameter.grad = before.to(parameter).expand_as(parameter) if parameter is low.weight else None
    optimizer.step()
    torch.testing.assert_close(optimizer.state[low.weight][key].float(), before, rtol=0.6, atol=0)
    assert optimizer.state[low.weight][key].all()


@over_optimizers
def test_a_mode_that_is_switched_on_after_construction_holds(name: str) -> None:
    low = model(torch.bfloat16)
    optimizer = BUILDS[name](list(low.parameters()), low_precision="none")
    assert left_of(optimizer, low.weight) == pytest.approx(1, rel=1e-6)
    optimizer.param_groups[0]["low_precision"] = "compensated"
    assert left_of(optimizer, low.weight) == pytest.approx(LEFT, rel=5e-3)


@over_optimizers
def test_a_state_that_was_saved_without_compensation_warns(name: str) -> None:
    saved = BUILDS[name](list(model().parameters()), low_precision="none").state_dict()
    low = model(torch.bfloat16)
    optimizer = BUILDS[name](list(low.parameters()))
    with pytest.warns(UserWarning, match=r"low_precision='none' in group 0.*\['low_precision'\] after loading"):
        optimizer.load_state_dict(saved)
    assert optimizer.param_groups[0]["low_precision"] == "none"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BUILDS[name](list(model().parameters())).load_state_dict(saved)


@over_optimizers
def test_a_look_at_fitting_state_makes_no_operation(name: str) -> None:
    """Nothing is cast, copied or begun where nothing has changed."""
    optimizer = BUILDS[name](list(model().parameters()))
    run(optimizer, 1)
    held = [tensor for state in optimizer.state.values() for tensor in state.values()]
    run(optimizer, 2)
    now = [tensor for state in optimizer.state.values() for tensor in state.values()]
    assert all(one is other for one, other in zip(held, now, strict=True))


@pytest.mark.parametrize("name", ["scion", "lion", "sgdw", "adamc"])
def test_a_compiled_step_follows_a_cast_too(name: str) -> None:
    torch._dynamo.reset()
    low = model()
    optimizer = BUILDS[name](list(low.parameters()))
    step = torch.compile(optimizer.step, backend="eager")
    before = None
    for index in range(42):
        if index == 2:
            low.bfloat16()
            before = norm(low.weight)
        for parameter in low.parameters():
            parameter.grad = torch.zeros_like(parameter)
        step()
    assert before is not None
    assert norm(low.weight) / before == pytest.approx((1 - DECAY) ** 40, rel=2e-3)


# --- states that are refused ---


def two_groups(name: str, seed: int = 0, **keys: Any) -> torch.optim.Optimizer:
    torch.manual_seed(seed)
    named = [[(f"layer.{index}", nn.Parameter(torch.randn(4, 3)))] for index in range(2)]
    optimizer = BUILDS[name]([{"params": of_group} for of_group in named], **keys)
    run(optimizer, 1, fill=1.0)
    return optimizer


def all_weights(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def everything(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    state = [tensor for of in optimizer.state.values() for tensor in of.values()]
    return values([p for group in optimizer.param_groups for p in group["params"]] + state)


def without(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda state: state["state"][1].pop(key)


def of_shape(key: str, *shape: int) -> Callable[[dict[str, Any]], None]:
    return lambda state: state["state"][1].update({key: torch.zeros(shape)})


def holding(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda state: state["state"][1].update({key: value})


def with_number(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda state: state["param_groups"][1].update({key: value})


FAULTS: list[tuple[str, Callable[[dict[str, Any]], Any], str]] = [
    (
        "lion",
        of_shape("momentum", 5, 3),
        r"'momentum' in the state of parameter 'layer.1' .*\(5, 3\); it must be .*\(4, 3\)",
    ),
    (
        "sgdw",
        of_shape("momentum", 3),
        r"'momentum' in the state of parameter 'layer.1' .*\(3,\); it must be .*\(4, 3\)",
    ),
    ("scion", of_shape("momentum", 3, 4), r"'momentum' .*\(3, 4\); it must be .*\(4, 3\)"),
    ("scion", of_shape("momentum"), r"'momentum' .*\(\); it must be .*\(4, 3\)"),
    ("adamc", of_shape("exp_avg_sq", 1, 3), r"'exp_avg_sq' .*\(1, 3\); it must be .*\(4, 3\)"),
    ("renormalized", of_shape("exp_avg", 12), r"'exp_avg' .*\(12,\); it must be .*\(4, 3\)"),
    (
        "adamc",
        without("exp_avg"),
        r"parameter 'layer.1' of shape \(4, 3\) lacks 'exp_avg'; it only has 'step', 'exp_avg_sq'",
    ),
    ("adamc_fused", without("step"), r"lacks 'step'; it only has 'exp_avg', 'exp_avg_sq'"),
    ("adamc", with_number("amsgrad", True), r"lacks 'max_exp_avg_sq'"),
    ("lion", with_number("lr", math.nan), r"lr of group 1 is nan; it must be in \[0, inf\)"),
    ("sgdw", with_number("momentum", 1.5), r"momentum of group 1 is 1\.5; it must be in \[0, 1\)"),
    ("scion", with_number("weight_decay", 1e5), r"lr · weight_decay of group 1 is 100\.0; it must be in \[0, 1\)"),
    ("adamc", with_number("decay", "linear"), r"decay rule is 'linear'"),
    *(
        (name, holding("momentum", "x"), r"'momentum' .*'layer.1' .* is of type str; it must be")
        for name in ("lion", "sgdw", "scion")
    ),
    *((name, holding("exp_avg", [1.0]), r"'exp_avg' .* is of type list") for name in ("adamc", "renormalized")),
    ("lion", holding("momentum", None), r"'layer.1' .*lacks 'momentum'"),
    ("sgdw", holding("compensation", None), "'compensation' .* is of type NoneType"),
    ("adamc", of_shape("step", 4), r"'step' .* is a torch.float32 tensor of shape \(4,\)"),
    ("renormalized", holding("step", torch.tensor(1j)), "'step' .* is a torch.complex64 tensor"),
    ("adamc_fused", holding("step", "1"), "'step' .* is of type str"),
    ("renormalized", of_shape("update_parallel", 4), r"'update_parallel' .*\(4,\)"),
    ("sgdw", lambda state: state.update(two_groups("lion").state_dict()), r"reference_momentum is \(0\.9, 0\.99\)"),
    ("lion", lambda state: state.update(two_groups("sgdw").state_dict()), r"reference_momentum is 0\.9"),
    ("lion", lambda state: state["state"][1].update(exp_avg=state["state"][1].pop("momentum")), r"has 'exp_avg'"),
]


@pytest.mark.parametrize(("name", "spoil", "message"), FAULTS)
def test_a_state_that_no_step_could_use_is_refused_and_nothing_has_changed(
    name: str, spoil: Callable[[dict[str, Any]], Any], message: str
) -> None:
    optimizer, saved = two_groups(name), copy.deepcopy(two_groups(name, seed=1).state_dict())
    spoil(saved)
    before, groups = everything(optimizer), [dict(group) for group in optimizer.param_groups]
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(saved)
    assert same_bits(everything(optimizer), before)
    for group, then in zip(optimizer.param_groups, groups, strict=True):
        assert all(group[key] is then[key] for key in then)
    run(optimizer, 1, fill=1.0)
    assert not same_bits(everything(optimizer), before)


@pytest.mark.parametrize("way", ["emptied", "cleared", "loaded"])
@over_optimizers
def test_an_emptied_state_begins_anew_and_the_others_go_on(name: str, way: str) -> None:
    optimizer, other = two_groups(name), two_groups(name)
    late = optimizer.param_groups[1]["params"][0]
    if way == "emptied":
        optimizer.state[late] = {}
    elif way == "cleared":
        optimizer.state[late].clear()
    else:
        saved = copy.deepcopy(optimizer.state_dict())
        saved["state"][1] = {}
        optimizer.load_state_dict(saved)
    del other.state[other.param_groups[1]["params"][0]]
    run(optimizer, 2, fill=1.0)
    run(other, 2, fill=1.0)
    assert optimizer.state[late].keys() == optimizer.state[optimizer.param_groups[0]["params"][0]].keys()
    assert same_bits(values(all_weights(optimizer)), values(all_weights(other)))


@pytest.mark.parametrize("keys", [["update_parallel"], ["update_parallel", "update_perpendicular"]])
def test_measures_that_a_state_lacks_begin_anew_in_an_optimizer_that_has_stepped(keys: list[str]) -> None:
    optimizer, same = two_groups("renormalized"), two_groups("renormalized")
    saved = copy.deepcopy(optimizer.state_dict())
    for key in keys:
        del saved["state"][1][key]
    optimizer.load_state_dict(saved)
    run(optimizer, 1, fill=1.0)
    run(same, 1, fill=1.0)
    assert same_bits(everything(optimizer), everything(same))


def test_a_memory_light_average_of_another_shape_is_refused() -> None:
    optimizer, other = (two_groups("scion", seed, memory_light=True) for seed in (0, 1))
    saved = copy.deepcopy(other.state_dict())
    saved["state"][1]["momentum"] = torch.zeros(4, 2)
    before = everything(optimizer)
    with pytest.raises(ValueError, match=r"'momentum' .*parameter 'layer.1' .*\(4, 2\); it must be .*\(4, 3\)"):
        optimizer.load_state_dict(saved)
    assert same_bits(everything(optimizer), before)
    assert all(group["params"][0].grad.shape == (4, 3) for group in optimizer.param_groups)


@over_optimizers
def test_what_a_saved_group_does_not_say_is_as_it_was_built(name: str) -> None:
    optimizer = two_groups(name)
    optimizer.param_groups[1].update(role="output", decay="constant")
    saved = copy.deepcopy(optimizer.state_dict())
    for group in saved["param_groups"]:
        for key in ("decay", "role", "reference_lr", "low_precision", "eps", "nesterov"):
            group.pop(key, None)
    saved["param_groups"][0]["lr"] = LR / 2
    with pytest.warns(UserWarning, match=f"a checkpoint without a correction was loaded, .* largest lr .*, {LR:g}"):
        optimizer.load_state_dict(saved)
    first, second = optimizer.param_groups
    assert (second["role"], second["decay"], second["low_precision"]) == ("output", "constant", "compensated")
    assert (first["reference_lr"], second["reference_lr"]) == (LR, LR)
    run(optimizer, 1)


@over_optimizers
def test_state_of_a_weight_that_cannot_be_used_in_a_step_is_refused_before_any_moves(name: str) -> None:
    optimizer = two_groups(name)
    (late,) = optimizer.param_groups[1]["params"]
    key = next(key for key, value in optimizer.state[late].items() if value.ndim)
    optimizer.state[late][key] = torch.zeros(2, 2)
    late.data = late.data.bfloat16()
    before = values([group["params"][0] for group in optimizer.param_groups[:1]])
    with pytest.raises(ValueError, match=rf"{key!r} in the state of parameter 'layer.1' .*\(2, 2\)"):
        run(optimizer, 1, fill=1.0)
    assert same_bits(optimizer.param_groups[0]["params"], before)


@pytest.mark.parametrize("key", ["update_parallel", "update_perpendicular"])
def test_measures_that_a_loaded_state_lacks_begin_anew(key: str) -> None:
    optimizer = two_groups("renormalized")
    run(optimizer, 1, fill=1.0)
    saved = copy.deepcopy(optimizer.state_dict())
    del saved["state"][1][key]
    optimizer.load_state_dict(saved)
    run(optimizer, 1, fill=1.0)
    assert all(key in state for state in optimizer.state.values())


@over_optimizers
def test_a_weight_whose_loaded_state_is_empty_begins_anew_in_an_optimizer_that_has_stepped(name: str) -> None:
    optimizer = two_groups(name)
    run(optimizer, 1, fill=1.0)
    saved = copy.deepcopy(optimizer.state_dict())
    saved["state"][1] = {}
    optimizer.load_state_dict(saved)
    run(optimizer, 1, fill=1.0)
    assert all(optimizer.state[parameter] for group in optimizer.param_groups for parameter in group["params"])
