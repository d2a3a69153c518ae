"""What every optimizer here promises, over one table: a new one is tested by its row."""

import copy
import io
import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from decoupled_reference import (
    ReferenceAdamW,
    ReferenceAmsgradW,
    ReferenceDecay,
    ReferenceLion,
    ReferenceNesterovSGDW,
    ReferenceOptimizer,
    ReferenceRenormalizedAdamW,
    ReferenceSGDW,
    lion_direction,
    norm_sq_per_gradient,
)
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR

import steadydecay as sd
from steadydecay.theory import DECAY_RULES

RULES = tuple(DECAY_RULES)
LR, WEIGHT_DECAY = 0.1, 0.5


def as_it_is(momentum: float) -> dict[str, Any]:
    return {"momentum": momentum}


def as_lion_betas(momentum: float) -> dict[str, Any]:
    return {"betas": (0.8 * momentum, momentum)}


def as_adam_betas(momentum: float) -> dict[str, Any]:
    return {"betas": (momentum, 0.95)}


@dataclass(frozen=True)
class Row:
    """One optimizer in one mode.

    Attributes:
        build: its class.
        mode: arguments that choose the mode.
        hyperparameters: momentum β as the group holds it.
        reference: the slow optimizer.
        average: state key of the momentum, and the weight of the newest gradient in it at β.
        state_keys: of one parameter.
        takes_tensors: lr and betas may be 0-d tensors (torch's foreach AdamW refuses them on CPUs).
        is_normalized: the size of gradients does not matter.
    """

    build: Callable[..., torch.optim.Optimizer]
    hyperparameters: Callable[[float], dict[str, Any]]
    reference: type[ReferenceOptimizer] | None
    average: str
    newest: Callable[[float], float]
    state_keys: frozenset[str]
    mode: dict[str, Any] = field(default_factory=dict)
    takes_tensors: bool = True
    is_normalized: bool = True

    def __call__(self, params: Any, momentum: float = 0.9, **settings: Any) -> torch.optim.Optimizer:
        defaults = {"lr": LR, "weight_decay": 0.0 if "steady_norm_sq" in settings else WEIGHT_DECAY}
        return self.build(params, **self.mode, **self.hyperparameters(momentum), **{**defaults, **settings})


MOMENTUM = frozenset({"momentum"})
ADAM = frozenset({"step", "exp_avg", "exp_avg_sq"})
MEASURED = ADAM | {"update_parallel", "update_perpendicular"}


def adam(mode: dict[str, Any], takes_tensors: bool = True) -> Row:
    keys = ADAM | {"max_exp_avg_sq"} if "amsgrad" in mode else ADAM
    reference = ReferenceAmsgradW if "amsgrad" in mode else ReferenceAdamW
    return Row(sd.AdamC, as_adam_betas, reference, "exp_avg", lambda b: 1 - b, keys, mode, takes_tensors)


def lion(mode: dict[str, Any]) -> Row:
    return Row(sd.Lion, as_lion_betas, ReferenceLion, "momentum", lambda b: 1 - b, MOMENTUM, mode)


def sgdw(mode: dict[str, Any]) -> Row:
    reference = ReferenceNesterovSGDW if "nesterov" in mode else ReferenceSGDW
    return Row(sd.SGDW, as_it_is, reference, "momentum", lambda b: 1, MOMENTUM, mode, is_normalized=False)


TABLE: dict[str, Row] = {
    # Scion's own tests compare it with its reference under every norm.
    "scion": Row(sd.Scion, as_it_is, None, "momentum", lambda b: 1 - b, MOMENTUM, {"norm": "bias"}),
    "adamc": adam({"foreach": False}),
    "adamc_foreach": adam({"foreach": True}, takes_tensors=False),
    "adamc_fused": adam({"fused": True}),
    "adamc_amsgrad": adam({"amsgrad": True}),
    "renormalized_adamw": Row(
        sd.RenormalizedAdamW, as_adam_betas, ReferenceRenormalizedAdamW, "exp_avg", lambda b: 1 - b, MEASURED
    ),
    "lion": lion({}),
    "lion_foreach": lion({"foreach": True}),
    "sgdw": sgdw({}),
    "sgdw_foreach": sgdw({"foreach": True}),
    "sgdw_nesterov": sgdw({"nesterov": True}),
}
NAMES = list(TABLE)
TENSOR_NAMES = [name for name, row in TABLE.items() if row.takes_tensors]
REFERENCED = [name for name, row in TABLE.items() if row.reference]
# Scion's references, one for each norm, are in test_scion.py.
assert set(NAMES) - set(REFERENCED) == {"scion"}
# Renormalisation takes the random walk out of the norm: nothing is left to hold.
WALKING = [name for name in NAMES if name != "renormalized_adamw"]


def random_parameters(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float64, seed: int = 0) -> list[Any]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype)) for shape in shapes]


def random_gradients(parameters: list[Any], seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1000 + seed)
    return [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]


def all_parameters(optimizer: torch.optim.Optimizer) -> list[Any]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def train(optimizer: torch.optim.Optimizer, seeds: range, scheduler: LRScheduler | None = None) -> None:
    parameters = all_parameters(optimizer)
    for seed in seeds:
        for parameter, gradient in zip(parameters, random_gradients(parameters, seed), strict=True):
            parameter.grad = gradient
        optimizer.step()
        if scheduler is not None:
            scheduler.step()


def values(parameters: list[Any]) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in parameters]


def same_bits(first: list[Any], second: list[Any]) -> bool:
    """Calls NaN equal to itself."""
    pairs = list(zip(first, second, strict=True))
    return all(a.detach().numpy().tobytes() == b.detach().numpy().tobytes() for a, b in pairs)


def assert_close(first: list[Any], second: list[Any], tolerance: float) -> None:
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a.detach(), b.detach(), rtol=tolerance, atol=tolerance)


def scheduled(step: int) -> tuple[float, float]:
    """lr and momentum of a step: both rise above where the decay was chosen and fall far below, lr to zero."""
    return 0.06 * (1 + math.cos(0.16 * step)) * (step != 30), 0.85 + 0.1 * math.sin(0.3 * step)


def set_scheduled(optimizer: torch.optim.Optimizer, row: Row, step: int) -> None:
    lr, momentum = scheduled(step)
    for group in optimizer.param_groups:
        group.update(lr=lr, **row.hyperparameters(momentum))


def hyperparameter(row: Row, momentum: float) -> Any:
    (value,) = row.hyperparameters(momentum).values()
    return value


# --- against the references ---


def reference_of(row: Row, weights: list[Tensor], rule: str) -> ReferenceOptimizer:
    assert row.reference is not None
    return row.reference(weights, LR, hyperparameter(row, 0.9), WEIGHT_DECAY, rule)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", REFERENCED)
def test_equals_the_reference_under_changing_lr_and_momentum(name: str, rule: str) -> None:
    row, parameters = TABLE[name], random_parameters((4, 3), (4, 3), (6,))
    reference = reference_of(row, values(parameters), rule)
    optimizer = row(parameters, decay=rule)
    for step in range(44):
        set_scheduled(optimizer, row, step)
        train(optimizer, range(step, step + 1))
        lr, momentum = scheduled(step)
        reference.step(random_gradients(parameters, step), lr, hyperparameter(row, momentum))
        assert_close(parameters, reference.weights, 1e-7)


@pytest.mark.parametrize("name", REFERENCED)
def test_the_rules_differ_by_far_more_than_the_tolerance(name: str) -> None:
    """A correction that does nothing must fail the comparison above. Adam's rules agree closest: S is that at η = 0."""
    row, weight = TABLE[name], torch.ones(6, dtype=torch.float64)
    references = [reference_of(row, [weight], rule) for rule in RULES]
    for step in range(44):
        lr, momentum = scheduled(step)
        for reference in references:
            reference.step(random_gradients([weight], step), lr, hyperparameter(row, momentum))
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert (references[first].weights[0] - references[second].weights[0]).abs().max() > 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_the_momentum_is_the_sum_over_all_gradients(name: str) -> None:
    row, parameters = TABLE[name], random_parameters((4, 3), (4, 3), (6,))
    optimizer = row(parameters, momentum=0.8)
    train(optimizer, range(6))
    history = [random_gradients(parameters, seed) for seed in range(6)]
    for index, parameter in enumerate(parameters):
        expected = sum(row.newest(0.8) * 0.8 ** (5 - seed) * history[seed][index] for seed in range(6))
        assert_close([optimizer.state[parameter][row.average]], [expected], 1e-14)
        assert torch.equal(parameter.grad, history[5][index]), "a step must not write to gradients"


# --- rules and references of a group ---


@pytest.mark.parametrize("rule", ["corrected", "exact"])
@pytest.mark.parametrize("name", NAMES)
def test_at_the_reference_a_rule_changes_no_bit(name: str, rule: str) -> None:
    constant, ruled = (random_parameters((4, 3), (6,), dtype=torch.float32) for _ in range(2))
    optimizers = TABLE[name](constant, decay="constant"), TABLE[name](ruled, decay=rule)
    for optimizer in optimizers:
        train(optimizer, range(5))
    assert same_bits(constant, ruled)
    for optimizer in optimizers:
        optimizer.param_groups[0]["lr"] = LR / 2
        train(optimizer, range(5, 6))
    assert not same_bits(constant, ruled)


@pytest.mark.parametrize("name", NAMES)
def test_two_groups_equal_two_optimizers(name: str) -> None:
    row = TABLE[name]
    settings: list[dict[str, Any]] = [
        {"decay": "corrected", **row.hyperparameters(0.5)},
        {"lr": 0.02, "weight_decay": 3.0, "decay": "exact", **row.hyperparameters(0.8)},
    ]
    together, apart = ([random_parameters((4, 3), seed=seed) for seed in (0, 1)] for _ in range(2))
    joint = row([{"params": p, **keys} for p, keys in zip(together, settings, strict=True)], lr=0.3, weight_decay=0.7)
    single = [
        row([{"params": p, "lr": 0.3, "weight_decay": 0.7, **keys}]) for p, keys in zip(apart, settings, strict=True)
    ]
    for seed in range(5):
        gradients = random_gradients([*together[0], *together[1]], seed)
        for parameters in (together, apart):
            for parameter, gradient in zip([*parameters[0], *parameters[1]], gradients, strict=True):
                parameter.grad = gradient.clone()
        for optimizer in (joint, *single):
            for group in optimizer.param_groups:
                group["lr"] *= 0.8
            optimizer.step()
    assert same_bits([*together[0], *together[1]], [*apart[0], *apart[1]])


@pytest.mark.parametrize("name", NAMES)
def test_references_are_the_groups_own_and_the_output_layer_is_not_corrected(name: str) -> None:
    groups = [
        {"params": random_parameters((6,)), "lr": 0.05, "initial_lr": 0.4},
        {"params": random_parameters((6,)), "role": "output"},
        {"params": random_parameters((6,)), "role": "output", "decay": "exact"},
    ]
    optimizer = TABLE[name](groups, decay="corrected")
    saved = optimizer.state_dict()["param_groups"]
    assert [group["reference_lr"] for group in saved] == [0.4, LR, LR]
    assert [group["decay"] for group in saved] == ["corrected", "constant", "exact"]
    assert all("reference_momentum" in group and "steady_norm_sq" in group for group in saved)


@pytest.mark.parametrize("name", NAMES)
def test_the_coefficient_of_the_group_stays_that_at_the_reference(name: str) -> None:
    optimizer = TABLE[name](random_parameters((6,)), decay="corrected")
    optimizer.param_groups[0]["lr"] = LR / 4
    train(optimizer, range(2))
    assert optimizer.param_groups[0]["weight_decay"] == WEIGHT_DECAY


# --- lr = 0 ---


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", NAMES)
def test_lr_zero_changes_no_bit(name: str, rule: str) -> None:
    row, parameters = TABLE[name], random_parameters((4, 3), (6,), dtype=torch.float32)
    parameters[1].data[0] = 0.0
    optimizer = row(parameters, decay=rule)
    train(optimizer, range(2))
    before = values(parameters)
    optimizer.param_groups[0]["lr"] = 0.0
    train(optimizer, range(2, 5))
    assert same_bits(parameters, before)
    optimizer.param_groups[0]["lr"] = LR
    train(optimizer, range(5, 6))
    assert not same_bits(parameters, before)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", TENSOR_NAMES)
def test_a_tensor_lr_of_zero_changes_no_bit(name: str, rule: str) -> None:
    parameters = random_parameters((4, 3), (6,), dtype=torch.float32)
    optimizer = TABLE[name](parameters, lr=torch.tensor(LR), decay=rule)
    train(optimizer, range(2))
    before = values(parameters)
    optimizer.param_groups[0]["lr"].fill_(0.0)
    train(optimizer, range(2, 5))
    assert same_bits(parameters, before)


@pytest.mark.parametrize("fill", [math.nan, math.inf])
@pytest.mark.parametrize("is_tensor", [False, True])
@pytest.mark.parametrize("name", ["scion", "lion", "lion_foreach", "sgdw", "sgdw_foreach", "sgdw_nesterov"])
def test_lr_zero_holds_for_any_gradient(name: str, is_tensor: bool, fill: float) -> None:
    """torch's AdamW multiplies by lr, and 0 · NaN is NaN."""
    parameters = random_parameters((4, 3), dtype=torch.float32)
    parameters[0].data[0, 0] = -0.0
    before = values(parameters)
    optimizer = TABLE[name](parameters, decay="corrected")
    optimizer.param_groups[0]["lr"] = torch.tensor(0.0) if is_tensor else 0.0
    parameters[0].grad = torch.full_like(parameters[0], fill)
    optimizer.step()
    assert same_bits(parameters, before)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", TENSOR_NAMES)
def test_tensors_as_hyperparameters_equal_numbers(name: str, rule: str) -> None:
    row = TABLE[name]
    numbers, tensors = (random_parameters((4, 3), (6,)) for _ in range(2))
    weight_decay = torch.tensor(WEIGHT_DECAY, dtype=torch.float64)
    optimizers = row(numbers, decay=rule), row(tensors, decay=rule, weight_decay=weight_decay)
    for step in range(12):
        set_scheduled(optimizers[0], row, step)
        optimizers[1].param_groups[0]["lr"] = torch.tensor(scheduled(step)[0], dtype=torch.float64)
        for optimizer in optimizers:
            optimizer.param_groups[0].update(row.hyperparameters(0.9 - 0.01 * step))
            train(optimizer, range(step, step + 1))
    assert_close(tensors, numbers, 1e-7)
    assert optimizers[1].param_groups[0]["weight_decay"] is weight_decay
    assert weight_decay == WEIGHT_DECAY


@pytest.mark.parametrize("name", ["lion", "lion_foreach", "sgdw", "sgdw_foreach", "sgdw_nesterov"])
def test_momentum_may_be_tensors(name: str) -> None:
    row = TABLE[name]
    numbers, tensors = (random_parameters((4, 3), (6,)) for _ in range(2))
    optimizers = row(numbers, decay="exact"), row(tensors, decay="exact")
    for step in range(12):
        set_scheduled(optimizers[0], row, step)
        set_scheduled(optimizers[1], row, step)
        group = optimizers[1].param_groups[0]
        if "betas" in group:
            group["betas"] = tuple(torch.tensor(beta, dtype=torch.float64) for beta in group["betas"])
        else:
            group["momentum"] = torch.tensor(group["momentum"], dtype=torch.float64)
        for optimizer in optimizers:
            train(optimizer, range(step, step + 1))
    assert_close(tensors, numbers, 1e-9)


# --- the norm ---


def norms_of_a_walk(
    optimizer: torch.optim.Optimizer, steps: int, hyperparameters: Callable[[int], dict[str, Any]]
) -> list[float]:
    """RMS of one vector after each step with independent gradients of unit variance."""
    (parameter,) = all_parameters(optimizer)
    generator = torch.Generator().manual_seed(7)
    squares = []
    for step in range(steps):
        optimizer.param_groups[0].update(hyperparameters(step))
        parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()
        squares.append(parameter.detach().square().mean())
    return torch.stack(squares).sqrt().tolist()


def zero_vector() -> list[Any]:
    return [nn.Parameter(torch.zeros(10_000))]


def cosine_lr(steps: int) -> Callable[[int], dict[str, Any]]:
    return lambda step: {"lr": LR * (1 + math.cos(math.pi * step / steps)) / 2}


@pytest.mark.parametrize("name", WALKING)
def test_under_a_cosine_the_corrected_norm_stays_and_the_constant_one_falls_as_the_root_of_lr(name: str) -> None:
    steps = 1800
    at_lr = {share: round(steps * math.acos(2 * share - 1) / math.pi) for share in (0.5, 0.25)}
    steady, falling = (
        norms_of_a_walk(TABLE[name](zero_vector(), momentum=0.3, decay=rule), steps, cosine_lr(steps))
        for rule in ("corrected", "constant")
    )
    assert steady[-1] == pytest.approx(steady[steps // 2], rel=0.03)
    # The constant rule forgets in 1/(2η) steps, and lags behind by as much.
    assert falling[at_lr[0.25]] / falling[at_lr[0.5]] == pytest.approx(math.sqrt(0.5), rel=0.05)
    assert falling[-1] < 0.4 * falling[steps // 2]


def lion_end_over_middle(rule: str, steps: int) -> float:
    """With Lion's own betas and η = 0.02, twice 1-β₂."""
    optimizer = sd.Lion(zero_vector(), lr=LR, betas=(0.9, 0.99), weight_decay=0.02 / LR, decay=rule)
    norms = norms_of_a_walk(optimizer, steps, cosine_lr(steps))
    return norms[-1] / norms[steps // 2]


def test_exact_holds_the_norm_where_the_correction_of_lion_is_coarse() -> None:
    """Long enough that momentum, with a memory of 100 steps, does not see lr move: at 3000 steps that adds 5 %."""
    assert lion_end_over_middle("exact", 20_000) == pytest.approx(1, rel=0.03)
    assert lion_end_over_middle("corrected", 3000) > 1.15


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize(("rule", "decay"), [("corrected", 0.008), ("exact", 0.04)])
def test_sgdw_holds_the_norm_under_a_momentum_schedule(rule: str, decay: float, nesterov: bool) -> None:
    """γ/(1-β) halves, so that a constant decay would halve the norm."""
    steps = 3600
    ends = {}
    for name in (rule, "constant"):
        optimizer = sd.SGDW(zero_vector(), LR, 0.8, nesterov=nesterov, weight_decay=decay / LR, decay=name)
        norms = norms_of_a_walk(
            optimizer, steps, lambda step: {"momentum": 0.8 - 0.2 * max(0, 3 * step / steps - 1) / 2}
        )
        ends[name] = norms[-1] / norms[steps // 3]
    assert ends[rule] == pytest.approx(1, rel=0.04)
    assert ends["constant"] < 0.65


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ["adamc", "sgdw", "sgdw_nesterov"])
def test_a_long_walk_reaches_the_steady_norm_asked_for(name: str, rule: str) -> None:
    """ "corrected" is below by the η/(1-β) that it neglects."""
    optimizer = TABLE[name](zero_vector(), momentum=0.3, decay=rule, steady_norm_sq=0.5)
    *_, rms = norms_of_a_walk(optimizer, 400, lambda step: {"lr": LR})
    assert rms**2 == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("rule", RULES)
def test_lion_reaches_its_steady_norm_up_to_what_the_sign_does_to_the_correlation(rule: str) -> None:
    """The rules take the update to be as correlated as the momentum, ρ; signs are by (2/π) arcsin ρ."""
    decay = ReferenceDecay(lion_direction, True, LR, (0.4, 0.5), 0.01 / LR).at("constant", LR, None)
    bent = norm_sq_per_gradient(lion_direction, True, LR, decay, (0.4, 0.5), bend=lambda r: 2 / math.pi * np.arcsin(r))
    asked = norm_sq_per_gradient(lion_direction, True, LR, decay, (0.4, 0.5))
    optimizer = sd.Lion(zero_vector(), LR, (0.4, 0.5), decay=rule, steady_norm_sq=asked)
    *_, rms = norms_of_a_walk(optimizer, 400, lambda step: {"lr": LR})
    assert bent < 0.9 * asked
    assert rms**2 == pytest.approx(bent, rel=0.05)


# --- checkpoints ---


def schedule(optimizer: torch.optim.Optimizer, kind: str) -> LRScheduler:
    if kind == "cosine":
        return CosineAnnealingLR(optimizer, T_max=12)
    return OneCycleLR(optimizer, max_lr=0.1, total_steps=20)


def through_a_file(content: Any) -> Any:
    file = io.BytesIO()
    torch.save(content, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("kind", ["cosine", "one_cycle"])
@pytest.mark.parametrize("name", NAMES)
def test_a_run_that_resumes_with_other_numbers_continues_exactly(name: str, kind: str) -> None:
    row, parameters = TABLE[name], random_parameters((4, 3), (6,), dtype=torch.float32)
    optimizer = row(parameters, decay="corrected")
    scheduler = schedule(optimizer, kind)
    train(optimizer, range(7), scheduler)
    saved = through_a_file([values(parameters), optimizer.state_dict(), scheduler.state_dict()])
    train(optimizer, range(7, 13), scheduler)

    resumed = random_parameters((4, 3), (6,), dtype=torch.float32, seed=9)
    resumed_optimizer = row(resumed, momentum=0.2, lr=0.013, weight_decay=0.1, decay="constant")
    resumed_scheduler = schedule(resumed_optimizer, kind)
    for parameter, value in zip(resumed, saved[0], strict=True):
        parameter.data.copy_(value)
    resumed_optimizer.load_state_dict(saved[1])
    resumed_scheduler.load_state_dict(saved[2])
    train(resumed_optimizer, range(7, 13), resumed_scheduler)
    assert same_bits(resumed, parameters)
    assert {**resumed_optimizer.param_groups[0], "params": 0} == {**optimizer.param_groups[0], "params": 0}


def pickled(content: Any) -> Any:
    return pickle.loads(pickle.dumps(content))


@pytest.mark.parametrize("copied", [pickled, copy.deepcopy])
@pytest.mark.parametrize("name", NAMES)
def test_a_copy_continues_exactly_and_takes_new_groups(name: str, copied: Callable[[Any], Any]) -> None:
    parameters = random_parameters((4, 3), (6,), dtype=torch.float32)
    optimizer = TABLE[name](parameters, decay="exact")
    scheduler = schedule(optimizer, "cosine")
    train(optimizer, range(5), scheduler)
    twins, twin, twin_scheduler = copied((parameters, optimizer, scheduler))
    train(optimizer, range(5, 9), scheduler)
    train(twin, range(5, 9), twin_scheduler)
    assert same_bits(twins, parameters)
    twin.add_param_group({"params": random_parameters((2,))})
    assert twin.param_groups[1]["decay"] == "exact"


@pytest.mark.parametrize("name", NAMES)
def test_state_exists_from_construction_with_the_keys_and_types_it_keeps(name: str) -> None:
    parameters = random_parameters((4, 3), (), (0, 3), dtype=torch.float32)
    optimizer = TABLE[name](parameters)

    def layout() -> dict[int, dict[str, Any]]:
        state = optimizer.state_dict()["state"]
        return {i: {k: (v.dtype, v.shape, v.device) for k, v in of.items()} for i, of in state.items()}

    before = layout()
    assert {index: set(state) for index, state in before.items()} == dict.fromkeys(range(3), TABLE[name].state_keys)
    train(optimizer, range(2))
    assert layout() == before


@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("name", NAMES)
def test_probing_for_a_distributed_checkpoint_leaves_the_weights(name: str, steps: int) -> None:
    model, twin = (nn.Linear(4, 3) for _ in range(2))
    twin.load_state_dict(model.state_dict())
    optimizer, twin_optimizer = (TABLE[name](list(m.parameters()), decay="corrected") for m in (model, twin))
    for each in (optimizer, twin_optimizer):
        train(each, range(steps))
        each.zero_grad()
    before = values(list(model.parameters()))
    state: Any = get_optimizer_state_dict(model, optimizer)
    assert same_bits(list(model.parameters()), before)
    assert {key: set(of) for key, of in state["state"].items()} == dict.fromkeys(
        ("weight", "bias"), TABLE[name].state_keys
    )
    for each in (optimizer, twin_optimizer):
        train(each, range(steps, steps + 2))
    assert same_bits(list(model.parameters()), list(twin.parameters()))


# --- the call ---


@pytest.mark.parametrize("name", NAMES)
def test_a_closure_runs_once_before_the_weights_move_with_gradients_on(name: str) -> None:
    (parameter,) = random_parameters((6,))
    optimizer = TABLE[name]([parameter])
    before, seen = values([parameter]), []

    def closure() -> Tensor:
        seen.append(parameter.detach().clone())
        loss = parameter.square().sum()
        loss.backward()
        return loss

    loss: Any = optimizer.step(closure)  # pyright: ignore[reportArgumentType, reportCallIssue]
    assert loss == before[0].square().sum()
    assert same_bits(seen, before)
    assert not same_bits([parameter], before)


@pytest.mark.parametrize("name", NAMES)
def test_hooks_run_once_a_step(name: str) -> None:
    """torch patches a class's step to run hooks when its first instance is made; a parent's may be patched too."""
    torch.optim.AdamW(random_parameters((2,)))
    sd.AdamC(random_parameters((2,)))
    optimizer, calls = TABLE[name](random_parameters((6,))), []
    optimizer.register_step_pre_hook(lambda *_: calls.append("pre"))
    optimizer.register_step_post_hook(lambda *_: calls.append("post"))
    train(optimizer, range(2))
    assert calls == ["pre", "post"] * 2


@pytest.mark.parametrize("name", NAMES)
def test_parameters_without_a_gradient_are_skipped(name: str) -> None:
    with_gradient, without = random_parameters((6,), (6,))
    optimizer = TABLE[name]([with_gradient, without])
    before = values([with_gradient, without])
    with_gradient.grad = torch.ones_like(with_gradient)
    optimizer.step()
    assert same_bits([without], before[1:])
    assert not same_bits([with_gradient], before[:1])
    optimizer.zero_grad()
    optimizer.step()


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_parameters_step_and_keep_their_dtype(name: str) -> None:
    parameters = random_parameters((4, 3), (6,), dtype=torch.bfloat16)
    before = values(parameters)
    train(TABLE[name](parameters, decay="exact"), range(3))
    for parameter, value in zip(parameters, before, strict=True):
        assert parameter.dtype == torch.bfloat16
        assert parameter.isfinite().all()
        assert not torch.equal(parameter.detach(), value)


@pytest.mark.parametrize("name", ["scion", "lion", "lion_foreach", "sgdw", "sgdw_foreach", "sgdw_nesterov"])
def test_a_moving_schedule_compiles_once(name: str) -> None:
    counter = CompileCounter()
    torch._dynamo.reset()
    parameters = random_parameters((4, 3), (6,), dtype=torch.float32)
    row = TABLE[name]
    tensors = {key: _as_tensors(value) for key, value in row.hyperparameters(0.9).items()}
    optimizer = row.build(parameters, lr=torch.tensor(LR), weight_decay=0.5, decay="exact", **row.mode, **tensors)
    step = torch.compile(optimizer.step, backend=counter)
    frames = []
    for index in range(5):
        optimizer.param_groups[0]["lr"].fill_(LR * (1 - index / 5))
        (momentum,) = tensors.values()
        for beta in momentum if isinstance(momentum, tuple) else (momentum,):
            beta.sub_(0.01)
        for parameter, gradient in zip(parameters, random_gradients(parameters, index), strict=True):
            parameter.grad = gradient
        step()
        frames.append(counter.frame_count)
    assert frames[0] >= 1
    assert frames[-1] == frames[0]


def _as_tensors(value: Any) -> Any:
    return tuple(map(torch.tensor, value)) if isinstance(value, tuple) else torch.tensor(value)


# --- errors ---

BAD_KEYS: list[tuple[dict[str, Any], str]] = [
    ({"lr": -0.1}, r"lr is -0\.1; it must be in \[0, inf\)"),
    ({"lr": math.nan}, r"lr is nan; it must be in \[0, inf\)"),
    ({"weight_decay": -0.1}, r"weight_decay is -0\.1; it must be in \[0, inf\)"),
    ({"weight_decay": 10.0}, r"reference_lr · weight_decay is 1\.0; it must .* lower weight_decay"),
    ({"decay": "linear"}, rf"decay rule is 'linear'; it must be one of {', '.join(map(repr, RULES))}"),
    ({"lr": 0.0, "weight_decay": 0.1, "decay": "exact"}, r"reference_lr is 0\.0; .*peak of the"),
    ({"steady_norm_sq": 0.001, "weight_decay": 0.0}, r"steady_norm_sq is 0\.001; it must be in \("),
]


@pytest.mark.parametrize(("keys", "message"), BAD_KEYS)
@pytest.mark.parametrize("name", NAMES)
def test_an_illegal_group_is_refused_and_nothing_has_changed(name: str, keys: dict[str, Any], message: str) -> None:
    row, parameters = TABLE[name], random_parameters((4, 3))
    with pytest.raises(ValueError, match=message):
        row(parameters, **keys)
    optimizer, group = row(random_parameters((4, 3))), {"params": parameters, **keys}
    with pytest.raises(ValueError, match=message):
        optimizer.add_param_group(group)
    assert len(optimizer.param_groups) == 1
    assert parameters[0] not in optimizer.state
    assert set(group) == {"params", *keys}


@pytest.mark.parametrize("name", NAMES)
def test_an_illegal_momentum_is_refused(name: str) -> None:
    row = TABLE[name]
    for momentum in (1.0, 1.5):
        with pytest.raises(ValueError, match=r"(momentum|betas\[0\]) is 1\.\d+; it must be in \[0, 1\): "):
            row(random_parameters((3,)), momentum=momentum)
        optimizer = row(random_parameters((3,)))
        with pytest.raises(ValueError, match=r"(momentum|betas\[0\]) is 1\.\d+; it must be in \[0, 1\): "):
            optimizer.add_param_group({"params": random_parameters((3,)), **row.hyperparameters(momentum)})


@pytest.mark.parametrize("name", NAMES)
def test_both_a_steady_norm_and_a_decay_are_refused(name: str) -> None:
    with pytest.raises(
        ValueError, match=r"steady_norm_sq=2\.0 and weight_decay=0\.5 both set the decay; pass only one"
    ):
        TABLE[name](random_parameters((3,)), steady_norm_sq=2.0, weight_decay=0.5)


@pytest.mark.parametrize("name", NAMES)
def test_a_sparse_gradient_is_refused_before_anything_moves(name: str) -> None:
    dense, sparse = random_parameters((4, 3), (5, 2))
    optimizer = TABLE[name]([{"params": [dense]}, {"params": [sparse]}])
    dense.grad, sparse.grad = torch.ones_like(dense), torch.ones_like(sparse).to_sparse()
    before, state = values([dense, sparse]), copy.deepcopy(optimizer.state_dict())
    with pytest.raises(
        ValueError, match=r"gradient of a parameter of shape \(5, 2\) is sparse; .*Embedding\(sparse=False\)"
    ):
        optimizer.step()
    assert same_bits([dense, sparse], before)
    assert all(torch.equal(v, optimizer.state[dense][k]) for k, v in state["state"][0].items())


@pytest.mark.parametrize("name", NAMES)
def test_an_illegal_rule_in_a_late_group_is_refused_before_anything_moves(name: str) -> None:
    parameters = random_parameters((6,), (6,))
    optimizer = TABLE[name]([{"params": [parameter]} for parameter in parameters])
    optimizer.param_groups[1]["decay"] = "linear"
    before = values(parameters)
    with pytest.raises(ValueError, match="decay rule is 'linear'"):
        train(optimizer, range(1))
    assert same_bits(parameters, before)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [WEIGHT_DECAY] * 2
