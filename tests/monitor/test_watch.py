"""The monitor on real optimizers, against float64 and against a twin of the optimizer without decay."""

import copy
import math
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import steadydecay as sd
from steadydecay.groups import settings
from steadydecay.monitor.watch import Watch, watch
from steadydecay.recipes.optimizer_chain import OptimizerChain

pytestmark = pytest.mark.usefixtures("one_cpu_thread")

Make = Callable[[list[nn.Parameter], float], torch.optim.Optimizer]
SHAPES = [(12, 8), (12, 8), (6,), (3, 8, 8), (20, 8)]
MATRICES = [(12, 8), (12, 8), (20, 8)]
LR = 0.02


def chain(parameters: list[nn.Parameter], weight_decay: float) -> torch.optim.Optimizer:
    first = sd.Scion(parameters[:2], LR, weight_decay=weight_decay)
    return OptimizerChain(first, sd.AdamC(parameters[2:], LR, weight_decay=weight_decay))


OPTIMIZERS: dict[str, Make] = {
    "scion": lambda p, wd: sd.Scion(p, LR, weight_decay=wd, norm="col_norm"),
    "scionc": lambda p, wd: sd.ScionC(p, LR, weight_decay=wd, norm="row_norm"),
    "scion_nesterov": lambda p, wd: sd.Scion(p, LR, weight_decay=wd, nesterov=True, norm="sign"),
    "scion_memory_light": lambda p, wd: sd.Scion(p, LR, weight_decay=wd, memory_light=True, norm="sign"),
    "adamc": lambda p, wd: sd.AdamC(p, LR, weight_decay=wd),
    "adamc_foreach": lambda p, wd: sd.AdamC(p, LR, weight_decay=wd, foreach=True),
    "adamc_fused": lambda p, wd: sd.AdamC(p, LR, weight_decay=wd, fused=True),
    "adamc_amsgrad": lambda p, wd: sd.AdamC(p, LR, weight_decay=wd, amsgrad=True),
    "lion": lambda p, wd: sd.Lion(p, LR, weight_decay=wd),
    "lionc": lambda p, wd: sd.Lion(p, LR, weight_decay=wd, decay="exact"),
    "sgdw": lambda p, wd: sd.SGDW(p, LR, 0.9, weight_decay=wd),
    "sgdw_nesterov": lambda p, wd: sd.SGDW(p, LR, 0.9, weight_decay=wd, nesterov=True),
    "torch_adamw": lambda p, wd: torch.optim.AdamW(p, LR, weight_decay=wd),
    "torch_nadam": lambda p, wd: torch.optim.NAdam(p, LR, weight_decay=wd, decoupled_weight_decay=True),
    "torch_adafactor": lambda p, wd: torch.optim.Adafactor(p, LR, weight_decay=wd),
    "chain": chain,
}
PLAIN: dict[str, Make] = {
    "sgd": lambda p, wd: torch.optim.SGD(p, LR, 0.9),
    "rmsprop": lambda p, wd: torch.optim.RMSprop(p, LR, momentum=0.5),
    "adagrad": lambda p, wd: torch.optim.Adagrad(p, LR),
    "rprop": lambda p, wd: torch.optim.Rprop(p, LR),
}


def parameters_of(
    shapes: list[tuple[int, ...]] = SHAPES, dtype: torch.dtype = torch.float32, seed: int = 0
) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    # The last dimension of a parameter may not be seen by a norm for vectors.
    return [nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in shapes]


def built(name: str, weight_decay: float = 0.5) -> tuple[list[nn.Parameter], torch.optim.Optimizer]:
    needs_matrices = name.startswith("scion") or name == "chain"
    parameters = parameters_of(MATRICES if needs_matrices else SHAPES)
    return parameters, (OPTIMIZERS | PLAIN)[name](parameters, weight_decay)


def set_gradients(parameters: list[nn.Parameter], seed: int) -> None:
    generator = torch.Generator().manual_seed(100 + seed)
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)


def steps(optimizer: torch.optim.Optimizer, seeds: range) -> None:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for seed in seeds:
        # memory_light keeps its average in `.grad`.
        optimizer.zero_grad()
        for parameter, gradient in zip(parameters, gradients_of(parameters, seed), strict=True):
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        optimizer.step()


def gradients_of(parameters: list[nn.Parameter], seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(100 + seed)
    return [torch.randn(p.shape, generator=generator).to(p.dtype) for p in parameters]


def doubles(parameters: list[nn.Parameter]) -> list[Tensor]:
    return [parameter.detach().double().clone() for parameter in parameters]


def layer(handle: Watch, position: int = 0, group: int = 0) -> dict[str, float]:
    return handle.record()["layers"][f"group_{group}.{position}"]


def all_layers(handle: Watch) -> list[dict[str, float]]:
    return list(handle.record()["layers"].values())


def norm(*tensors: Tensor) -> float:
    return math.sqrt(sum(float(tensor.double().square().sum()) for tensor in tensors))


def cosine(first: Tensor, second: Tensor) -> float:
    return float((first * second).sum() / first.norm() / second.norm())


# What was really added


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_measured_update_is_what_the_step_adds_without_decay(name: str) -> None:
    """A deep copy with weight_decay 0 takes the same step from the same weights: it adds the update alone."""
    parameters, optimizer = built(name)
    steps(optimizer, range(3))
    twin = copy.deepcopy(optimizer)
    for of_twin in [group for one in getattr(twin, "optimizers", (twin,)) for group in one.param_groups]:
        of_twin["weight_decay"] = 0.0
    handle = watch(optimizer)
    before = doubles(parameters)
    steps(optimizer, range(3, 4))
    copies = [parameter for group in twin.param_groups for parameter in group["params"]]
    steps(twin, range(3, 4))
    for found, start, moved in zip(all_layers(handle), before, doubles(copies), strict=True):
        added = moved - start
        assert found["update_norm"] == pytest.approx(norm(added), rel=1e-5)
        assert found["update_cosine"] == pytest.approx(cosine(-added, start), abs=1e-5)
        assert found["parallel_share"] == pytest.approx(cosine(added, start) ** 2, abs=1e-5)
        assert found["parallel_share"] + found["perpendicular_share"] == 1


@pytest.mark.parametrize("name", [*OPTIMIZERS, *PLAIN])
def test_norms_and_rotation_agree_with_float64(name: str) -> None:
    parameters, optimizer = built(name)
    handle = watch(optimizer)
    for seed in range(3):
        before = doubles(parameters)
        steps(optimizer, range(seed, seed + 1))
        for found, parameter, start in zip(all_layers(handle), parameters, before, strict=True):
            after = parameter.detach().double()
            assert found["weight_norm"] == pytest.approx(norm(after), rel=1e-5)
            assert found["weight_rms"] == pytest.approx(norm(after) / math.sqrt(after.numel()), rel=1e-5)
            assert found["rotation"] == pytest.approx(math.acos(min(1.0, cosine(start, after))), rel=1e-3, abs=1e-6)
            # There `.grad` is the average.
            assert ("gradient_norm" in found) == (name != "scion_memory_light")
            if "gradient_norm" in found:
                assert parameter.grad is not None
                assert found["gradient_norm"] == pytest.approx(norm(parameter.grad), rel=1e-5)
            assert ("spectral_norm" in found) == (parameter.ndim > 1)
            if parameter.ndim > 1:
                expected = float(torch.linalg.svdvals(after).max())
                assert found["spectral_norm"] == pytest.approx(expected, rel=1e-3)


def test_hand_computed_steps() -> None:
    (weight,) = parameters_of([(4, 5)])
    set_gradients([weight], 0)
    assert weight.grad is not None
    for optimizer, expected in {
        sd.Lion([weight], 0.1, weight_decay=0.5): 0.1 * math.sqrt(20),
        sd.Scion([weight], 0.1, weight_decay=0.5, norm="sign"): 0.1 * math.sqrt(20) / 5,
        sd.SGDW([weight], 0.1, weight_decay=0.5): 0.1 * norm(weight.grad),
        torch.optim.AdamW([weight], 0.1, weight_decay=0.5): 0.1 * math.sqrt(20),
    }.items():
        with watch(optimizer) as handle:
            optimizer.step()
            assert layer(handle)["update_norm"] == pytest.approx(expected, rel=1e-5)
            assert handle.metrics()["group/group_0/decay"] == pytest.approx(0.05)


def test_the_renormalised_step_is_measured_as_it_was() -> None:
    parameters = parameters_of()
    optimizer = sd.RenormalizedAdamW(parameters, LR, weight_decay=0.5)
    handle = watch(optimizer)
    steps(optimizer, range(2))
    before = doubles(parameters)
    steps(optimizer, range(2, 3))
    for found, parameter, start in zip(all_layers(handle), parameters, before, strict=True):
        added = parameter.detach().double() - (1 - LR * 0.5) * start
        assert found["update_norm"] == pytest.approx(norm(added), rel=1e-5)


# Momentum, and what a minibatch adds


@pytest.mark.parametrize("name", [*OPTIMIZERS, "sgd", "rmsprop"])
def test_the_momentum_norm_is_of_the_optimizer_s_own_buffer(name: str) -> None:
    parameters, optimizer = built(name)
    handle = watch(optimizer)
    steps(optimizer, range(3))
    keys = ("momentum", "momentum_buffer", "exp_avg")
    owners = getattr(optimizer, "optimizers", (optimizer,))
    for found, parameter in zip(all_layers(handle), parameters, strict=True):
        buffers = [one.state[parameter][key] for one in owners for key in keys if key in one.state.get(parameter, {})]
        assert ("momentum_norm" in found) == bool(buffers)
        if buffers:
            assert found["momentum_norm"] == pytest.approx(norm(buffers[0]), rel=1e-5)


def direction_norm(name: str, gradients: list[Tensor]) -> float:
    """‖d‖ of the normalised direction d, written out from all gradients."""
    momentum = torch.zeros_like(gradients[0], dtype=torch.float64)
    direction = momentum
    for gradient in gradients:
        if name == "lion":
            direction = 0.9 * momentum + 0.1 * gradient
            momentum = 0.99 * momentum + 0.01 * gradient
        else:
            momentum = 0.9 * momentum + 0.1 * gradient
            direction = 0.9 * momentum + 0.1 * gradient if "nesterov" in name else momentum
    return norm(direction)


@pytest.mark.parametrize("name", ["scion", "scion_nesterov", "lion"])
def test_tuc_is_the_share_of_a_gradient_in_the_direction(name: str) -> None:
    parameters, optimizer = built(name)
    handle = watch(optimizer)
    steps(optimizer, range(4))
    for index, found in enumerate(all_layers(handle)):
        gradients = [gradients_of(parameters, seed)[index] for seed in range(4)]
        assert found["tuc"] == pytest.approx(LR * norm(gradients[-1]) / direction_norm(name, gradients), rel=1e-4)


def test_tuc_of_torch_s_muon() -> None:
    parameters = parameters_of([(12, 8)])
    optimizer = torch.optim.Muon(parameters, LR, momentum=0.9, weight_decay=0.1)
    handle = watch(optimizer)
    steps(optimizer, range(4))
    gradients = [gradients_of(parameters, seed)[0] for seed in range(4)]
    assert layer(handle)["tuc"] == pytest.approx(
        LR * norm(gradients[-1]) / direction_norm("nesterov", gradients), rel=1e-4
    )


@pytest.mark.parametrize("name", ["adamc", "adamc_amsgrad", "torch_adamw"])
def test_tuc_of_adam_is_the_size_of_its_update_without_momentum(name: str) -> None:
    parameters, optimizer = built(name)
    handle = watch(optimizer)
    steps(optimizer, range(5))
    for index, found in enumerate(all_layers(handle)):
        squares = torch.zeros_like(parameters[index], dtype=torch.float64)
        largest = squares
        for seed in range(5):
            squares = 0.999 * squares + 0.001 * gradients_of(parameters, seed)[index].double() ** 2
            largest = torch.maximum(squares, largest)
        divisor = ((largest if "amsgrad" in name else squares) / (1 - 0.999**5)).sqrt() + 1e-8
        unit = gradients_of(parameters, 4)[index] / divisor
        assert found["tuc"] == pytest.approx(LR * norm(unit) / math.sqrt(unit.numel()), rel=1e-4)
        assert handle.metrics()["group/group_0/effective_lr"] == LR


def test_tuc_equals_the_effective_lr_where_gradients_are_independent() -> None:
    """arXiv 2512.08217: at steady state it is γ_eff. On average: of one step it is noisy."""
    parameters = parameters_of([(40, 40)])
    optimizer = sd.Scion(parameters, LR, 0.9, norm="sign")
    handle = watch(optimizer)
    steps(optimizer, range(80))
    assert layer(handle)["tuc"] == pytest.approx(handle.metrics()["group/group_0/effective_lr"], rel=0.05)
    assert handle.metrics()["group/group_0/effective_lr"] == pytest.approx(LR * math.sqrt(19))


@pytest.mark.parametrize("name", ["sgdw", "sgd", "rmsprop", "adagrad"])
def test_where_nothing_is_normalised_there_is_no_tuc(name: str) -> None:
    _, optimizer = built(name)
    handle = watch(optimizer)
    steps(optimizer, range(2))
    assert all("tuc" not in found for found in all_layers(handle))


# Groups


def grouped(**changes: Any) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(11, 6), nn.Linear(6, 12), nn.Linear(12, 6), nn.Linear(6, 11, bias=False))
    groups = sd.param_groups(model, "scion", lr={"hidden": 0.1, "output": 0.2, "embedding": 0.3, "vector": 0.4})
    for group in groups:
        group["weight_decay"] = 0.05 / group["lr"]
    return model, sd.ScionC(groups, 0.1, **changes)


def test_groups_are_their_layers_together_by_role_and_layers_have_names() -> None:
    model, optimizer = grouped()
    handle = watch(optimizer)
    steps(optimizer, range(2))
    record = handle.record()
    named = dict(model.named_parameters())
    assert set(record["layers"]) == set(named) == set(record["verdicts"])
    members = {"embedding": ["0.weight"], "hidden": ["1.weight", "2.weight"], "output": ["3.weight"]}
    members["vector"] = ["1.bias", "2.bias"]
    assert set(record["groups"]) == set(members)
    for role, names in members.items():
        found, of_layers = record["groups"][role], [record["layers"][name] for name in names]
        assert found["weight_norm"] == pytest.approx(norm(*(named[name].detach() for name in names)), rel=1e-5)
        for measure in ("gradient_norm", "momentum_norm", "update_norm", "predicted_norm"):
            assert found[measure] == pytest.approx(math.hypot(*(one[measure] for one in of_layers)))
        assert found["decay"] == pytest.approx(0.05)
        assert found["norm_ratio"] == pytest.approx(found["weight_norm"] / found["predicted_norm"])
    assert record["groups"]["output"]["lr"] == 0.2
    spectral = [record["layers"][name]["spectral_norm"] for name in members["hidden"]]
    assert record["groups"]["hidden"]["spectral_geometric_mean"] == pytest.approx(math.sqrt(math.prod(spectral)))
    assert record["groups"]["hidden"]["spectral_norm"] == max(spectral)


def test_the_sign_norm_is_of_output_and_embedding() -> None:
    model, optimizer = grouped()
    handle = watch(optimizer)
    steps(optimizer, range(1))
    layers = handle.record()["layers"]
    assert {name for name, found in layers.items() if "sign_norm" in found} == {"0.weight", "3.weight"}
    for name in ("0.weight", "3.weight"):
        assert layers[name]["sign_norm"] == pytest.approx(6 * model.get_parameter(name).abs().max().item())


def test_fused_matrices_count_one_by_one() -> None:
    weights = [nn.Parameter(torch.randn(9, 5)), nn.Parameter(torch.randn(3, 5, 5)), nn.Parameter(torch.randn(5, 9))]
    split = {"name": "spectral", "split_sizes": (2, 3, 4)}
    groups = [
        {"params": weights[:1], "norm": split, "name": "fused"},
        {"params": weights[1:2], "norm": "spectral", "name": "stacked"},
        {"params": weights[2:], "norm": split | {"transposed": True}, "name": "transposed"},
    ]
    optimizer = sd.Scion(groups, 0.1)
    handle = watch(optimizer)
    steps(optimizer, range(3))
    fused, stacked, transposed = (weight.detach().double() for weight in weights)
    blocks = [fused.split((2, 3, 4)), list(stacked), transposed.split((2, 3, 4), dim=1)]
    for name, matrices in zip(("fused", "stacked", "transposed"), blocks, strict=True):
        norms = [float(torch.linalg.matrix_norm(matrix, 2)) for matrix in matrices]
        found = handle.record()["groups"][name]
        assert found["spectral_norm"] == pytest.approx(max(norms), rel=1e-4)
        assert found["spectral_geometric_mean"] == pytest.approx(math.prod(norms) ** (1 / 3), rel=1e-4)


def test_kernels_are_matrices_of_d_out_rows() -> None:
    model = nn.Sequential(nn.Conv2d(4, 6, 3), nn.Conv1d(3, 5, 2))
    optimizer = sd.Scion(sd.param_groups(model, "scion", lr=0.1, output=False), 0.1)
    handle = watch(optimizer)
    steps(optimizer, range(2))
    for name in ("0.weight", "1.weight"):
        expected = torch.linalg.matrix_norm(model.get_parameter(name).detach().flatten(1), 2).item()
        assert handle.record()["layers"][name]["spectral_norm"] == pytest.approx(expected, rel=1e-3)


# Predictions, time and verdicts


def walk(optimizer: torch.optim.Optimizer, weight: nn.Parameter, count: int, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step()


@pytest.mark.parametrize("name", ["scion", "adamw", "lion", "sgdw"])
def test_a_random_walk_ends_at_the_predicted_norm_and_is_called_steady(name: str) -> None:
    weight = nn.Parameter(torch.full((48, 48), 1e-3))
    build: dict[str, Make] = {
        "scion": lambda p, wd: sd.Scion(p, 0.1, 0.9, weight_decay=wd, norm="sign"),
        "adamw": lambda p, wd: torch.optim.AdamW(p, 0.1, (0.9, 0.95), weight_decay=wd),
        "lion": lambda p, wd: sd.Lion(p, 0.1, (0.9, 0.95), weight_decay=wd),
        "sgdw": lambda p, wd: sd.SGDW(p, 0.1, 0.9, weight_decay=wd),
    }
    optimizer = build[name]([weight], 0.1)
    handle = watch(optimizer, every=5)
    walk(optimizer, weight, 20)
    early = layer(handle)
    assert early["time_constants"] == pytest.approx(20 * 2 * 0.01)
    assert early["drift"] > 0.3 and handle.verdicts() == {"group_0.0": "not yet there"}
    walk(optimizer, weight, 480, seed=1)
    late = layer(handle)
    assert late["weight_norm"] == pytest.approx(late["predicted_norm_measured"], rel=0.06)
    assert ("predicted_norm" in late) == (name != "sgdw"), "the size of SGD's updates is the gradients'"
    if name != "sgdw":
        assert late["norm_ratio"] == pytest.approx(1, abs=0.08)
    assert late["time_constants"] == pytest.approx(10)
    assert abs(late["drift"]) < 0.05 and handle.verdicts() == {"group_0.0": "steady"}


def test_norms_that_rise_and_fall_for_good_are_called_so() -> None:
    for lr, verdict in ((0.4, "rising"), (0.02, "falling")):
        weight = nn.Parameter(torch.full((30, 30), 1e-3))
        optimizer = sd.Lion([weight], 0.1, weight_decay=0.1)
        handle = watch(optimizer)
        walk(optimizer, weight, 300)
        optimizer.param_groups[0].update(lr=lr, weight_decay=0.01 / lr)
        walk(optimizer, weight, 30, seed=1)
        assert handle.verdicts() == {"group_0.0": verdict}
        drift = layer(handle)["drift"]
        assert (drift > 0.05) if verdict == "rising" else (drift < -0.05)


def test_the_decay_of_each_rule_counts_as_it_is_applied() -> None:
    (weight,) = parameters_of([(6, 6)])
    optimizer = sd.Scion([weight], 0.1, weight_decay=0.2, decay="corrected", norm="sign")
    handle = watch(optimizer, every=3)
    total = 0.0
    for seed, lr in enumerate((0.1, 0.05, 0.02)):
        optimizer.param_groups[0]["lr"] = lr
        steps(optimizer, range(seed, seed + 1))
        total += 2 * 0.02 * (lr / 0.1) ** 2
    assert layer(handle)["time_constants"] == pytest.approx(total)
    assert handle.metrics()["group/group_0/decay"] == pytest.approx(0.02 * 0.04)
    optimizer.param_groups[0]["lr"] = 99.0
    assert handle.metrics()["group/group_0/lr"] == 0.02, "the step's, not the present one"


@pytest.mark.parametrize("is_first", [True, False])
def test_the_correction_s_decay_is_seen_whichever_is_attached_first(is_first: bool) -> None:
    parameters = parameters_of()
    optimizer = torch.optim.AdamW(parameters, LR, weight_decay=0.5)
    handle = watch(optimizer) if is_first else None
    correction = sd.correct_weight_decay(optimizer, where=0, reference_lr=LR)
    handle = handle or watch(optimizer)
    optimizer.param_groups[0]["lr"] = LR / 2
    before = doubles(parameters)
    steps(optimizer, range(1))
    assert handle.metrics()["group/group_0/decay"] == pytest.approx(LR * 0.5 / 4)
    added = parameters[0].detach().double() - (1 - LR * 0.5 / 4) * before[0]
    assert layer(handle)["update_norm"] == pytest.approx(norm(added), rel=1e-5)
    correction.remove()


@pytest.mark.parametrize("rule", ["cautious", "hyperball"])
def test_of_a_replaced_decay_nothing_is_known(rule: str) -> None:
    parameters = parameters_of([(6, 6)])
    optimizer = torch.optim.AdamW(parameters, LR, weight_decay=0.5)
    handle = watch(optimizer)
    sd.correct_weight_decay(optimizer, rule, where=0)
    steps(optimizer, range(2))
    assert "group/group_0/decay" not in handle.metrics() and "predicted_norm" not in layer(handle)
    assert handle.verdicts() == {"group_0.0": "no decay"}


def test_l2_is_named_once_and_counts_as_part_of_the_update() -> None:
    parameters = parameters_of()
    optimizer = torch.optim.SGD(parameters, LR, weight_decay=0.5)
    with pytest.warns(UserWarning, match=r"the weight_decay of SGD's groups \[0\] does not act as θ") as caught:
        handle = watch(optimizer)
    assert caught[0].filename == __file__
    before = doubles(parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        steps(optimizer, range(1))
    assert layer(handle)["update_norm"] == pytest.approx(norm(parameters[0].detach() - before[0]), rel=1e-5)
    metrics = handle.metrics()
    assert "group/group_0/decay" not in metrics and "layer/group_0.0/predicted_norm" not in metrics
    assert set(handle.verdicts().values()) == {"no decay"}


def test_without_decay_there_is_no_prediction_and_no_warning() -> None:
    parameters, optimizer = built("sgd")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        handle = watch(optimizer)
    steps(optimizer, range(2))
    assert set(handle.verdicts().values()) == {"no decay"}
    assert handle.metrics()["group/group_0/decay"] == 0
    assert not {"predicted_norm", "norm_ratio", "drift"} & set(layer(handle))
    assert parameters[0].grad is not None


# Odd steps


def test_every_kth_step_is_measured_and_the_next_on_demand() -> None:
    parameters, optimizer = built("lion")
    handle = watch(optimizer, every=3)
    assert handle.metrics() == {} and handle.verdicts() == {} and handle.measured_step == 0
    seen = []
    for seed in range(7):
        if seed == 3:
            handle.measure_next_step()
        steps(optimizer, range(seed, seed + 1))
        seen.append(handle.measured_step)
        if handle.measured_step == seed + 1:
            assert layer(handle)["weight_norm"] == pytest.approx(norm(parameters[0].detach()), rel=1e-6)
    assert seen == [0, 0, 3, 4, 4, 6, 6]


def test_lr_zero_changes_nothing_and_zero_weights_have_a_spectral_norm_of_zero() -> None:
    weight = nn.Parameter(torch.zeros(600, 500))
    optimizer = sd.Scion([weight], 0.0, weight_decay=0.1, norm="sign")
    handle = watch(optimizer)
    steps(optimizer, range(1))
    found = layer(handle)
    assert (found["weight_norm"], found["update_norm"], found["spectral_norm"]) == (0, 0, 0)
    assert not {"rotation", "update_cosine", "predicted_norm"} & set(found)
    optimizer.param_groups[0]["lr"] = 0.1
    for seed in range(1, 4):
        steps(optimizer, range(seed, seed + 1))
        expected = torch.linalg.matrix_norm(weight.detach(), 2).item()
        assert layer(handle)["spectral_norm"] == pytest.approx(expected, rel=0.01)


def test_frozen_and_unused_parameters_are_not_decayed_and_later_groups_begin_later() -> None:
    parameters = parameters_of([(6, 6), (6, 6), (6, 6)])
    optimizer = torch.optim.AdamW(parameters[:2], LR, weight_decay=0.5)
    handle = watch(optimizer)
    for seed in range(4):
        set_gradients(parameters[:2], seed)
        if seed < 3:
            parameters[1].grad = None
        if seed == 2:
            optimizer.add_param_group({"params": parameters[2:], "lr": 2 * LR, "weight_decay": 0.1})
            set_gradients(parameters[2:], seed)
        optimizer.step()
        if seed == 2:
            used, unused, late = all_layers(handle)
            assert unused["update_norm"] == unused["rotation"] == unused["time_constants"] == 0
            assert not {"gradient_norm", "momentum_norm", "predicted_norm", "tuc"} & set(unused)
            assert handle.verdicts()["group_0.1"] == "no decay"
            assert used["time_constants"] == pytest.approx(3 * 2 * LR * 0.5)
            assert late["time_constants"] == pytest.approx(2 * 2 * LR * 0.1)
    used, unused, late = all_layers(handle)
    assert unused["time_constants"] == pytest.approx(2 * LR * 0.5) and unused["update_norm"] > 0
    assert handle.verdicts()["group_0.1"] != "no decay"
    assert late["time_constants"] == pytest.approx(2 * 2 * 2 * LR * 0.1)


def test_sparse_gradients() -> None:
    embedding = nn.Embedding(10, 4, sparse=True)
    optimizer = torch.optim.SparseAdam(embedding.parameters(), LR)
    handle = watch(optimizer)
    before = embedding.weight.detach().clone()
    for _ in range(2):
        optimizer.zero_grad()
        embedding(torch.tensor([1, 3, 3])).sum().backward()
        before = embedding.weight.detach().clone()
        optimizer.step()
    found = layer(handle)
    assert found["gradient_norm"] == pytest.approx(math.sqrt(4 * 1 + 4 * 4))
    assert found["update_norm"] == pytest.approx(norm(embedding.weight.detach() - before), rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes_are_summed_in_float32_or_better(dtype: torch.dtype) -> None:
    parameters = parameters_of([(200, 60), (200, 60), (50,)], dtype)
    optimizer = sd.Lion(parameters, 0.1, weight_decay=0.5)
    handle = watch(optimizer)
    before = doubles(parameters)
    steps(optimizer, range(1))
    for found, parameter, start in zip(all_layers(handle), parameters, before, strict=True):
        # What rounding took off is kept beside the weight, and counts.
        kept = optimizer.state[parameter].get("compensation", torch.zeros(()))
        after = parameter.detach().double() + torch.finfo(dtype).eps * kept.double()
        added = after - 0.95 * start
        assert found["weight_norm"] == pytest.approx(norm(after), rel=1e-6)
        assert found["update_norm"] == pytest.approx(norm(added), rel=1e-5)
        assert parameter.grad is not None
        assert found["gradient_norm"] == pytest.approx(norm(parameter.grad), rel=1e-6)


def test_complex_empty_scalar_and_strided_parameters() -> None:
    weights = [
        nn.Parameter(torch.randn(4, 3, dtype=torch.complex64)),
        nn.Parameter(torch.randn(0, 3)),
        nn.Parameter(torch.tensor(2.0)),
        nn.Parameter(torch.randn(7, 5).t()),
        nn.Parameter(torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)),
    ]
    optimizer = torch.optim.AdamW(weights, LR, weight_decay=0.5)
    handle = watch(optimizer)
    before: list[Tensor] = []
    for _ in range(2):
        for weight in weights:
            weight.grad = torch.randn_like(weight)
        before = [weight.detach().clone() for weight in weights]
        optimizer.step()
    layers = handle.record()["layers"]
    assert list(layers) == ["group_0.0", "group_0.2", "group_0.3", "group_0.4"]
    for name, found in layers.items():
        position = int(name[-1])
        added = weights[position].detach() - (1 - LR * 0.5) * before[position]
        assert found["weight_norm"] == pytest.approx(weights[position].detach().norm().item(), rel=1e-5)
        assert found["update_norm"] == pytest.approx(added.norm().item(), rel=1e-4)
    expected = torch.linalg.matrix_norm(weights[3].detach(), 2).item()
    assert layers["group_0.3"]["spectral_norm"] == pytest.approx(expected, rel=1e-3)
    assert "spectral_norm" not in layers["group_0.0"]


def test_large_weights_are_summed_exactly_in_chunks() -> None:
    """Entries of one sign: torch's own float32 norm of as many is 1e-4 off."""
    weight = nn.Parameter(torch.rand(2**17 + 3, 33) + 1)
    optimizer = torch.optim.AdamW([{"params": [weight], "role": "output"}], LR, weight_decay=0.5)
    handle = watch(optimizer)
    weight.grad = torch.rand_like(weight) + 1
    before = weight.detach().double().clone()
    optimizer.step()
    found, after = layer(handle), weight.detach().double()
    added = after - (1 - LR * 0.5) * before
    assert found["weight_norm"] == pytest.approx(norm(after), rel=1e-6)
    assert found["gradient_norm"] == pytest.approx(norm(weight.grad), rel=1e-6)
    assert found["update_norm"] == pytest.approx(norm(added), rel=1e-6)
    assert found["update_cosine"] == pytest.approx(cosine(-added, before), abs=1e-6)
    assert found["sign_norm"] == pytest.approx(33 * after.abs().max().item(), rel=1e-6)
    assert found["spectral_norm"] == pytest.approx(float(torch.linalg.eigvalsh(after.T @ after)[-1]) ** 0.5, rel=1e-3)


def test_the_largest_entry_is_that_of_all_chunks() -> None:
    """Chunks of bfloat16 weights are converted in memory that the next chunk uses again."""
    weight = nn.Parameter(torch.full((2**17 + 3, 33), 0.5, dtype=torch.bfloat16))
    weight.data[0, 0] = 4
    optimizer = torch.optim.AdamW([{"params": [weight], "role": "output"}], LR, weight_decay=0.0)
    handle = watch(optimizer)
    weight.grad = torch.zeros_like(weight)
    optimizer.step()
    assert layer(handle)["sign_norm"] == 33 * 4


def test_a_closure_makes_its_gradients_within_the_step() -> None:
    (weight,) = parameters_of([(6, 6)])
    optimizer = sd.Lion([weight], LR, weight_decay=0.5)
    handle = watch(optimizer)

    def closure() -> float:
        set_gradients([weight], 5)
        return 1.0

    optimizer.step(closure)
    optimizer.step(closure=closure)
    assert weight.grad is not None
    assert layer(handle)["gradient_norm"] == pytest.approx(norm(weight.grad), rel=1e-5)
    assert layer(handle)["time_constants"] == pytest.approx(2 * 2 * LR * 0.5)


def test_a_hook_that_clears_gradients_after_the_step_does_not_hide_it() -> None:
    (weight,) = parameters_of([(6, 6)])
    optimizer = sd.Lion([weight], LR, weight_decay=0.5)
    optimizer.register_step_post_hook(lambda *_: optimizer.zero_grad())
    handle = watch(optimizer)
    set_gradients([weight], 0)
    optimizer.step()
    assert layer(handle)["update_norm"] == pytest.approx(LR * 6, rel=1e-5)
    assert "gradient_norm" not in layer(handle)


def test_a_subclass_that_calls_the_step_of_its_parent_counts_one_step() -> None:
    class Loud(torch.optim.AdamW):
        def step(self, closure: Any = None) -> Any:
            return super().step(closure)

    parameters = parameters_of()
    optimizer = Loud(parameters, LR, weight_decay=0.5)
    handle = watch(optimizer)
    runs = []
    optimizer.register_step_post_hook(lambda *_: runs.append(1))
    steps(optimizer, range(1))
    before = doubles(parameters)
    steps(optimizer, range(1, 2))
    assert len(runs) == 4, "torch runs the hooks twice"
    assert handle.measured_step == 2
    added = parameters[0].detach().double() - (1 - LR * 0.5) * before[0]
    assert layer(handle)["update_norm"] == pytest.approx(norm(added), rel=1e-5)
    assert layer(handle)["time_constants"] == pytest.approx(2 * 2 * LR * 0.5)


def test_a_step_that_fails_is_no_step() -> None:
    parameters = parameters_of()
    optimizer = sd.SGDW(parameters, LR, weight_decay=0.5)
    handle = watch(optimizer)

    def failing() -> float:
        raise RuntimeError("no data")

    with pytest.raises(RuntimeError, match="no data"):
        optimizer.step(failing)
    steps(optimizer, range(1))
    assert handle.measured_step == 1
    assert layer(handle)["update_norm"] == pytest.approx(LR * layer(handle)["gradient_norm"], rel=1e-5)


def test_a_step_that_a_grad_scaler_skips_moves_nothing_and_takes_no_time() -> None:
    parameters = parameters_of()
    optimizer = torch.optim.AdamW(parameters, LR, weight_decay=0.5, fused=True)
    handle = watch(optimizer)
    scaler: Any = torch.amp.GradScaler("cpu", init_scale=4.0)
    scaler.scale(torch.tensor(1.0))
    for seed in range(3):
        set_gradients(parameters, seed)
        for parameter in parameters:
            assert parameter.grad is not None
            parameter.grad *= scaler.get_scale() * (math.inf if seed == 1 else 1)
        scaler.step(optimizer)
        scaler.update()
        if seed == 1:
            assert layer(handle)["update_norm"] == 0
    assert layer(handle)["gradient_norm"] == pytest.approx(norm(gradients_of(parameters, 2)[0]), rel=1e-5)
    assert layer(handle)["time_constants"] == pytest.approx(2 * 2 * LR * 0.5)


def test_weights_that_are_not_finite_are_reported_as_such() -> None:
    parameters = parameters_of()
    optimizer = sd.SGDW(parameters, LR, weight_decay=0.5)
    handle = watch(optimizer)
    steps(optimizer, range(1))
    set_gradients(parameters, 1)
    assert parameters[0].grad is not None
    parameters[0].grad[0, 0] = math.nan
    optimizer.step()
    broken, whole, *_ = all_layers(handle)
    assert math.isnan(broken["weight_norm"]) and math.isnan(broken["spectral_norm"])
    assert math.isfinite(whole["weight_norm"]) and math.isfinite(whole["spectral_norm"])


# Tensors as hyperparameters, compilation, no waiting


def test_tensor_hyperparameters_are_read_as_they_were() -> None:
    numbers, tensors = parameters_of(), parameters_of()
    lr = torch.tensor(LR, dtype=torch.float64)
    optimizers = (
        sd.SGDW(numbers, LR, 0.9, weight_decay=0.5, decay="corrected"),
        sd.SGDW(tensors, lr, torch.tensor(0.9, dtype=torch.float64), weight_decay=0.5, decay="corrected"),
    )
    handles = [watch(optimizer, every=2) for optimizer in optimizers]
    for seed in range(4):
        optimizers[0].param_groups[0]["lr"] = LR / (1 + seed)
        lr.fill_(LR / (1 + seed))
        for optimizer in optimizers:
            steps(optimizer, range(seed, seed + 1))
    lr.fill_(7.0)
    assert handles[1].metrics() == pytest.approx(handles[0].metrics(), rel=1e-4, abs=1e-5)


class NoWaiting(TorchDispatchMode):
    """Refuses what would wait for a GPU: reading a value, or copying a tensor to another device."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert "local_scalar_dense" not in str(function) and "nonzero" not in str(function), str(function)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("is_tensor", [False, True])
def test_no_step_reads_a_value_from_the_device(is_tensor: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # A tensor on the CPU stands for one on an accelerator, which no step reads.
    monkeypatch.setattr(settings, "_is_readable", lambda value: False)
    parameters = parameters_of()
    optimizer = sd.SGDW(parameters, torch.tensor(LR) if is_tensor else LR, 0.9, weight_decay=0.5)
    handle = watch(optimizer, every=2)
    with NoWaiting():
        steps(optimizer, range(4))
        with pytest.raises(AssertionError, match="local_scalar_dense"):
            float(torch.ones(()))
    assert handle.measured_step == 4 and len(handle.metrics()) > 50


def test_a_compiled_step_is_measured_as_an_eager_one_and_compiles_no_more_often() -> None:
    torch._dynamo.reset()
    eager, compiled = parameters_of(), parameters_of()
    optimizers = [sd.Lion(weights, torch.tensor(LR), weight_decay=0.5) for weights in (eager, compiled)]
    handles = [watch(optimizer, every=2) for optimizer in optimizers]
    compiled_step: Any = torch.compile(optimizers[1].step, backend="eager")
    for seed in range(4):
        steps(optimizers[0], range(seed, seed + 1))
        set_gradients(compiled, seed)
        with torch._dynamo.config.patch(error_on_recompile=seed > 1):
            compiled_step()
    assert handles[1].metrics() == pytest.approx(handles[0].metrics(), rel=1e-4, abs=1e-6)
    torch._dynamo.reset()


# State


def test_copies_of_a_watched_optimizer_are_not_watched_and_work() -> None:
    _, optimizer = built("lion")
    handle = watch(optimizer)
    for made in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        steps(made, range(1))
    assert handle.measured_step == 0
    steps(optimizer, range(1))
    assert handle.measured_step == 1


def test_removed_it_measures_no_more_and_can_still_be_read() -> None:
    _, optimizer = built("lion")
    handle = watch(optimizer)
    steps(optimizer, range(1))
    handle.remove()
    handle.remove()
    before = handle.metrics()
    steps(optimizer, range(1, 3))
    assert handle.metrics() == before and len(before) > 50
    assert handle.state_dict()["layers"].keys() == {f"group_0.{index}" for index in range(5)}


@pytest.mark.parametrize("name", ["scionc", "adamc", "chain"])
def test_a_resumed_watch_goes_on_bit_for_bit(name: str, tmp_path: Any) -> None:
    parameters, optimizer = built(name)
    handle = watch(optimizer, every=2)
    steps(optimizer, range(5))
    state = {"model": parameters, "optimizer": optimizer.state_dict(), "watch": handle.state_dict()}
    torch.save(state, tmp_path / "state.pt")
    steps(optimizer, range(5, 9))
    again, second = built(name)
    resumed = watch(second, every=2)
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    with torch.no_grad():
        for parameter, kept in zip(again, saved["model"], strict=True):
            parameter.copy_(kept)
    second.load_state_dict(saved["optimizer"])
    resumed.load_state_dict(saved["watch"])
    assert resumed.record() == saved["watch"]["record"] and resumed.measured_step == 4
    steps(second, range(5, 9))
    assert resumed.record() == handle.record()
    assert resumed.verdicts() == handle.verdicts()


def test_the_state_of_a_group_waits_until_the_group_is_there() -> None:
    def added(optimizer: torch.optim.Optimizer) -> None:
        optimizer.add_param_group({"params": parameters_of([(5, 5)], seed=1), "lr": 2 * LR})

    handles = []
    for is_resumed in (False, True):
        optimizer = torch.optim.AdamW(parameters_of([(6, 6)]), LR, weight_decay=0.5)
        handle = watch(optimizer)
        if is_resumed:
            handle.load_state_dict(handles[0].state_dict())
        added(optimizer)
        steps(optimizer, range(3))
        handles.append(handle)
    once, twice = (layer(handle, group=1)["time_constants"] for handle in handles)
    assert (once, twice) == pytest.approx((3 * 2 * 2 * LR * 0.5, 2 * 3 * 2 * 2 * LR * 0.5))


def test_state_of_other_shapes_and_other_layers_is_left_out() -> None:
    old = torch.optim.AdamW(parameters_of([(6, 4), (5, 5)]), LR, weight_decay=0.5)
    handle = watch(old)
    steps(old, range(3))
    parameters = parameters_of([(9, 7)])
    optimizer = torch.optim.AdamW(parameters, LR, weight_decay=0.5)
    resumed = watch(optimizer)
    resumed.load_state_dict(handle.state_dict())
    steps(optimizer, range(1))
    expected = torch.linalg.matrix_norm(parameters[0].detach(), 2).item()
    assert layer(resumed)["spectral_norm"] == pytest.approx(expected, rel=1e-3)
    assert set(resumed.state_dict()["layers"]) == {"group_0.0", "group_0.1"}


def test_it_does_not_change_training() -> None:
    results = []
    for is_watched in (False, True):
        parameters, optimizer = built("scionc")
        if is_watched:
            watch(optimizer)
        steps(optimizer, range(5))
        results.append(doubles(parameters))
    assert all(torch.equal(*pair) for pair in zip(*results, strict=True))


def test_a_name_that_two_parameters_have_is_made_unique() -> None:
    parameters = parameters_of([(4, 4), (4, 4), (4, 4)])
    groups = [
        {"params": parameters[:1], "param_names": ["w"]},
        {"params": parameters[1:2], "param_names": ["w"]},
        {"params": parameters[2:], "param_names": ["a", "b"]},
    ]
    optimizer = torch.optim.AdamW(groups[:1], LR)
    for group in groups[1:]:
        optimizer.param_groups.append({**optimizer.param_groups[0], **group})
    handle = watch(optimizer)
    steps(optimizer, range(1))
    assert set(handle.record()["layers"]) == {"group_0.0.w", "group_1.0.w", "group_2.0"}


def test_layers_are_in_the_optimizer_s_order_whatever_their_shapes() -> None:
    optimizer = torch.optim.AdamW(parameters_of([(4, 4), (3,), (4, 4), (5, 5), (3,)]), LR)
    handle = watch(optimizer)
    steps(optimizer, range(1))
    assert list(handle.record()["layers"]) == [f"group_0.{index}" for index in range(5)]


def test_an_optimizer_inside_a_wrapper_is_found() -> None:
    _, optimizer = built("lion")

    class Wrapper(torch.optim.Optimizer):
        def __init__(self) -> None:
            self.optimizer = optimizer

    handle = watch(Wrapper())
    steps(optimizer, range(1))
    assert handle.measured_step == 1


@pytest.mark.parametrize("every", [0, -1, 2.0, True, None])
def test_a_wrong_every_is_named(every: Any) -> None:
    _, optimizer = built("lion")
    with pytest.raises(ValueError, match=rf"^every is {every!r}; it must be a whole number of steps"):
        watch(optimizer, every=every)


def test_what_is_no_optimizer_is_named() -> None:
    wrong: Any = nn.Linear(2, 2)
    with pytest.raises(
        TypeError, match=r"^optimizer is a Linear; it must be a torch.optim.Optimizer. If it is a wrapper"
    ):
        watch(wrong)


def test_a_state_of_another_version_is_refused_and_nothing_has_changed() -> None:
    optimizer = torch.optim.AdamW([nn.Parameter(torch.ones(2, 2))], lr=0.1)
    watch = sd.watch(optimizer)
    before = watch.state_dict()
    with pytest.raises(ValueError, match=r"state lacks record, .* another version"):
        watch.load_state_dict({name: part for name, part in before.items() if name != "record"} | {"steps": 7})
    assert watch.state_dict()["steps"] == before["steps"] == 0
