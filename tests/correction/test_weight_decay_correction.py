"""The verb on every optimizer of the table: steady norms, schedulers, resuming, groups, and what it refuses."""

import copy
import io
import math
import pickle
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
)
from transformers.optimization import Adafactor as HuggingFaceAdafactor

import steadydecay as sd
from steadydecay.groups import settings
from steadydecay.known_optimizers.known_optimizer import KnownOptimizer
from steadydecay.known_optimizers.table import known_optimizer
from steadydecay.known_optimizers.update_momentum import AVERAGE, NO_MOMENTUM
from steadydecay.theory import DECAY_RULES, Reference, exponential_average, lion_average, nesterov_average, weight_decay
from step_costs import operations

PEAK: dict[str, Any] = {"lr": 0.01, "weight_decay": 1.0}
FAST: dict[str, Any] = {"betas": (0.9, 0.99), **PEAK}
Build = Callable[[Any], Optimizer]
# Momentum of the normalised ones is low enough that the decay, 0.01 a step, is far below 1-β ("corrected").
OPTIMIZERS: dict[str, Build] = {
    "AdamW, each": lambda params: torch.optim.AdamW(params, foreach=False, **FAST),
    "AdamW, foreach": lambda params: torch.optim.AdamW(params, foreach=True, **FAST),
    "AdamW, fused": lambda params: torch.optim.AdamW(params, fused=True, **FAST),
    "AdamW, amsgrad": lambda params: torch.optim.AdamW(params, amsgrad=True, **FAST),
    "Adam, decoupled": lambda params: torch.optim.Adam(params, decoupled_weight_decay=True, **FAST),
    "NAdam, decoupled": lambda params: torch.optim.NAdam(params, decoupled_weight_decay=True, **FAST),
    "RAdam, decoupled": lambda params: torch.optim.RAdam(params, betas=(0.9, 0.9), decoupled_weight_decay=True, **PEAK),
    # Below an RMS of eps[1] its step does not grow with the weights.
    "Adafactor": lambda params: torch.optim.Adafactor(params, eps=(None, 1.0), **PEAK),
    "Adafactor, Hugging Face": lambda params: HuggingFaceAdafactor(
        params, scale_parameter=False, relative_step=False, **PEAK
    ),
    "Muon": lambda params: torch.optim.Muon(params, momentum=0.8, **PEAK),
    "Muon, no Nesterov": lambda params: torch.optim.Muon(params, momentum=0.8, nesterov=False, **PEAK),
    "Scion": lambda params: sd.Scion(params, momentum=0.8, **PEAK),
    "Lion": lambda params: sd.Lion(params, betas=(0.8, 0.8), **PEAK),
    "AdamC": lambda params: sd.AdamC(params, decay="constant", **PEAK),
    "SGDW": lambda params: sd.SGDW(params, momentum=0.8, **PEAK),
}
OF_TORCH = [name for name in OPTIMIZERS if name not in ("Scion", "Lion", "AdamC", "SGDW")]


def correct(optimizer: Optimizer, rule: str = "corrected", **arguments: Any) -> Any:
    """The verb on every group, which also keeps it from warning that none has a role."""
    return sd.correct_weight_decay(optimizer, rule, **{"where": lambda group: True, **arguments})


def parameters_of(*shapes: tuple[int, ...], seed: int = 0, dtype: torch.dtype = torch.float64) -> list[Any]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype)) for shape in shapes]


def all_parameters(optimizer: Optimizer) -> list[Any]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def give_gradients(optimizer: Optimizer, seed: int) -> None:
    generator = torch.Generator().manual_seed(1000 + seed)
    for parameter in all_parameters(optimizer):
        parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)


def train(optimizer: Optimizer, scheduler: Any, seeds: range) -> None:
    for seed in seeds:
        give_gradients(optimizer, seed)
        optimizer.step()
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(1.0)
        elif scheduler is not None:
            scheduler.step()


def values(optimizer: Optimizer) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in all_parameters(optimizer)]


def same_bits(first: list[Tensor], second: list[Tensor]) -> bool:
    pairs = zip(first, second, strict=True)
    return all(a.detach().numpy().tobytes() == b.detach().numpy().tobytes() for a, b in pairs)


def decays(optimizer: Optimizer) -> list[float]:
    return [float(group["weight_decay"]) for group in optimizer.param_groups]


def adamw(*groups: dict[str, Any], lr: Any = 0.1, weight_decay: Any = 0.5, **arguments: Any) -> torch.optim.AdamW:
    """One parameter for each group that is given by its keys."""
    params = parameters_of(*[(4, 3)] * max(len(groups), 1))
    filled = [{"params": [parameter], **keys} for parameter, keys in zip(params, groups or ({},), strict=True)]
    return torch.optim.AdamW(filled, lr=lr, weight_decay=weight_decay, **arguments)


def decay_factors(optimizer: Optimizer) -> list[float]:
    """What a step without gradients' help multiplies each weight by."""
    before = values(optimizer)
    for parameter in all_parameters(optimizer):
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    return [float((a / b).mean()) for a, b in zip(values(optimizer), before, strict=True)]


# --- the contract: a steady norm where the plain optimizer's falls ---

STEPS = 1200
LAST = 0.25


def cosine(step: int) -> float:
    return LAST + (1 - LAST) * (1 + math.cos(math.pi * step / STEPS)) / 2


def last_over_middle_norm(build: Build, rule: str | None) -> float:
    """‖θ‖ at the end of a cosine over that at its middle, with independent gradients."""
    parameter = nn.Parameter(torch.zeros(64, 64))
    optimizer = build([parameter])
    scheduler = LambdaLR(optimizer, cosine)
    if rule is not None:
        correct(optimizer, rule)
    generator = torch.Generator().manual_seed(0)
    middle = torch.tensor(math.nan)
    for step in range(STEPS):
        parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()
        scheduler.step()
        if step == STEPS // 2:
            middle = parameter.detach().norm()
    return float(parameter.detach().norm() / middle)


# Three ways to the same step have the same norm.
@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name not in ("AdamW, foreach", "AdamW, fused")])
def test_the_norm_is_steady_with_the_verb_and_falls_as_the_root_of_the_lr_without(name: str) -> None:
    build = OPTIMIZERS[name]
    fallen = math.sqrt(LAST / cosine(STEPS // 2))
    assert last_over_middle_norm(build, None) == pytest.approx(fallen, rel=0.06)
    for rule in ("corrected", "exact"):
        assert last_over_middle_norm(build, rule) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("rule", DECAY_RULES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_at_the_reference_every_rule_is_no_correction_bitwise(name: str, rule: str) -> None:
    first, second = (OPTIMIZERS[name](parameters_of((6, 4), dtype=torch.float32)) for _ in range(2))
    correct(second, rule)
    for optimizer in (first, second):
        train(optimizer, None, range(4))
    assert same_bits(values(first), values(second))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_constant_rule_is_no_correction_bitwise_at_any_lr(name: str) -> None:
    first, second = (OPTIMIZERS[name](parameters_of((6, 4), dtype=torch.float32)) for _ in range(2))
    correct(second, "constant")
    for optimizer in (first, second):
        train(optimizer, LambdaLR(optimizer, cosine), range(4))
    assert same_bits(values(first), values(second))


@pytest.mark.parametrize("is_tensor", [False, True])
@pytest.mark.parametrize("rule", [*DECAY_RULES, "cautious", "hyperball"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_with_lr_zero_changes_no_weight_bitwise(name: str, rule: str, is_tensor: bool) -> None:
    """FIELD bug 6: loaders of distributed checkpoints run such a step."""
    optimizer = OPTIMIZERS[name](parameters_of((6, 4), dtype=torch.float32))
    correct(optimizer, rule)
    train(optimizer, None, range(2))
    before = values(optimizer)
    takes_tensors = "fused" not in name and "foreach" not in name
    optimizer.param_groups[0]["lr"] = torch.tensor(0.0) if is_tensor and takes_tensors else 0.0
    give_gradients(optimizer, 9)
    optimizer.step(closure=None)  # pyright: ignore[reportCallIssue, reportArgumentType]
    assert same_bits(values(optimizer), before)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_two_groups_equal_two_optimizers(name: str) -> None:
    first, second, third, fourth = (parameters_of((6, 4), seed=seed)[0] for seed in (0, 1, 0, 1))
    together = OPTIMIZERS[name]([{"params": [first], "lr": 0.02}, {"params": [second], "lr": 0.005}])
    apart = OPTIMIZERS[name]([{"params": [third], "lr": 0.02}]), OPTIMIZERS[name]([{"params": [fourth], "lr": 0.005}])
    for optimizer in (together, *apart):
        correct(optimizer)
        for group in optimizer.param_groups:
            group["lr"] *= 0.3
    for seed in range(3):
        give_gradients(together, seed)
        third.grad, fourth.grad = first.grad.clone(), second.grad.clone()
        for optimizer in (together, *apart):
            optimizer.step()
    assert same_bits([first, second], [third, fourth])


# --- against a slow reference ---


class ReferenceAdamW:
    """AdamW from its equations in float64, with λ_t = λ γ_t / γ_peak."""

    def __init__(self, weight: Tensor, weight_decay: float, peak: float) -> None:
        self.weight, self.weight_decay, self.peak = weight.double(), weight_decay, peak
        self.first, self.second, self.steps = torch.zeros_like(self.weight), torch.zeros_like(self.weight), 0

    def step(self, gradient: Tensor, lr: float) -> None:
        self.steps += 1
        self.first = 0.9 * self.first + 0.1 * gradient
        self.second = 0.999 * self.second + 0.001 * gradient**2
        first, second = self.first / (1 - 0.9**self.steps), self.second / (1 - 0.999**self.steps)
        decay = lr * self.weight_decay * lr / self.peak
        self.weight = (1 - decay) * self.weight - lr * first / (second.sqrt() + 1e-8)


@pytest.mark.parametrize("arguments", [{"foreach": True}, {"foreach": False}, {"fused": True}], ids=str)
def test_adamw_equals_the_reference(arguments: dict[str, Any]) -> None:
    optimizer = adamw(**arguments)
    reference, inert = (ReferenceAdamW(values(optimizer)[0], 0.5, peak) for peak in (0.1, 0.2))
    correct(optimizer)
    (parameter,) = all_parameters(optimizer)
    for step in range(40):
        lr = optimizer.param_groups[0]["lr"] = 0.05 * (1 + math.cos(0.16 * step))
        give_gradients(optimizer, step)
        for slow in (reference, inert):
            slow.step(parameter.grad, lr)
        optimizer.step()
        torch.testing.assert_close(parameter.detach(), reference.weight, rtol=1e-10, atol=1e-10)
    assert (reference.weight - inert.weight).abs().min() > 1e-3


MOMENTUMS: list[tuple[str, Build, Callable[[float], Any]]] = [
    ("Muon", lambda params: torch.optim.Muon(params, 0.1, 0.5, 0.9), nesterov_average),
    ("Muon, no Nesterov", lambda p: torch.optim.Muon(p, 0.1, 0.5, 0.9, nesterov=False), exponential_average),
]


@pytest.mark.parametrize("rule", ["corrected", "exact"])
@pytest.mark.parametrize(("name", "build", "filter_of"), MOMENTUMS, ids=[name for name, *_ in MOMENTUMS])
def test_momentum_enters_where_the_update_is_normalised(
    name: str, build: Build, filter_of: Callable[[float], Any], rule: str
) -> None:
    optimizer = build(parameters_of((4, 3)))
    correct(optimizer, rule)
    optimizer.param_groups[0].update(lr=0.04, momentum=0.8)
    train(optimizer, None, range(1))
    reference = Reference(0.1, 0.5, filter_of(0.9))
    assert decays(optimizer) == [weight_decay(0.04, filter_of(0.8), False, reference, rule)]
    # Without momentum it would be 0.2.
    assert decays(optimizer)[0] < 0.15


def test_momentum_does_not_enter_under_adam() -> None:
    optimizer = adamw()
    correct(optimizer)
    optimizer.param_groups[0].update(lr=0.05, betas=(0.5, 0.999))
    train(optimizer, None, range(1))
    assert decays(optimizer) == [0.25]


def known_entry(optimizer: Optimizer) -> KnownOptimizer:
    known = known_optimizer(optimizer, optimizer.param_groups[0])
    assert known is not None
    return known


class OptimizerOfOthers(torch.optim.AdamW):
    """Stands for a class of a package that is not installed here."""


def named(name: str, package: str, **keys: Any) -> Optimizer:
    kind = type(name, (Optimizer,), {"__module__": f"{package}.optim", "step": lambda self, closure=None: None})
    return kind([{"params": parameters_of((4, 3)), "lr": 0.1, "weight_decay": 0.5, **keys}], {})


@pytest.mark.parametrize(
    ("name", "package", "keys", "moved", "filters"),
    [
        (
            "SCION",
            "pytorch_optimizer",
            {"momentum": 0.1},
            {"momentum": 0.2},
            [exponential_average(b) for b in (0.9, 0.8)],
        ),
        ("Muon", "timm", {"momentum": 0.9}, {"momentum": 0.8}, [exponential_average(b) for b in (0.9, 0.8)]),
        (
            "NorMuon",
            "pytorch_optimizer",
            {"momentum": 0.9, "nesterov": True},
            {"momentum": 0.8},
            [nesterov_average(b) for b in (0.9, 0.8)],
        ),
        (
            "Lion",
            "timm",
            {"betas": (0.9, 0.99)},
            {"betas": (0.8, 0.98)},
            [lion_average(*b) for b in ((0.9, 0.99), (0.8, 0.98))],
        ),
        (
            "Lion",
            "optimi",
            {"beta1": 0.9, "beta2": 0.99},
            {"beta1": 0.8, "beta2": 0.98},
            [lion_average(*b) for b in ((0.9, 0.99), (0.8, 0.98))],
        ),
        (
            "AdaMuon",
            "pytorch_optimizer",
            {"betas": (0.9, 0.95)},
            {"betas": (0.8, 0.9)},
            [exponential_average(b) for b in (0.9, 0.8)],
        ),
        ("Muon", "timm", {"use_fallback": True}, {}, [exponential_average(0.0)] * 2),
        ("Muon", "pytorch_optimizer", {"use_muon": False}, {}, [exponential_average(0.0)] * 2),
        ("NAdamW", "timm", {"betas": (0.9, 0.99)}, {"betas": (0.8, 0.98)}, [exponential_average(0.0)] * 2),
    ],
)
def test_momentum_conventions_of_other_packages(
    name: str, package: str, keys: dict[str, Any], moved: dict[str, Any], filters: list[Any]
) -> None:
    optimizer = named(name, package, **keys)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        correct(optimizer)
    optimizer.param_groups[0].update(lr=0.05, **moved)
    optimizer.step()
    expected = 0.5 * (0.5 * (filters[0].energy / filters[1].energy))
    assert decays(optimizer) == [pytest.approx(expected, rel=1e-12)]


def test_sgd_with_dampening_counts_as_unknown_and_without_as_a_sum() -> None:
    known = named("SGDW", "timm", momentum=0.9, dampening=0.0)
    correct(known)
    known.param_groups[0]["momentum"] = 0.8
    known.step()
    assert decays(known) == [pytest.approx(0.5 * 0.1**2 / 0.2**2)]
    with pytest.warns(UserWarning, match="dampening=0.5 also scales .* of SGDW.*, so its momentum is assumed constant"):
        correct(named("SGDW", "timm", momentum=0.9, dampening=0.5))


def test_a_known_name_with_its_momentum_elsewhere_counts_as_unknown() -> None:
    with pytest.warns(
        UserWarning,
        match="Muon's momentum cannot be read .*'momentum' among 'lr', 'weight_decay', 'mu'.* assumed constant",
    ):
        correct(named("Muon", "elsewhere", mu=0.9))


def test_a_subclass_is_known_by_its_parent() -> None:
    optimizer = OptimizerOfOthers(parameters_of((4, 3)))
    assert known_entry(optimizer).momentum is NO_MOMENTUM
    assert known_entry(torch.optim.Muon(parameters_of((4, 3)))).momentum is AVERAGE


def test_an_unknown_optimizer_is_said_once_and_follows_its_lr() -> None:
    optimizer = named("Novel", "elsewhere")
    with pytest.warns(UserWarning, match="Novel is not in .*known_optimizers, .* assumed constant") as caught:
        correct(optimizer)
        optimizer.param_groups[0]["lr"] = 0.05
        optimizer.step()
        optimizer.step()
    assert len(caught) == 1
    assert caught[0].filename == __file__ or "test_weight_decay_correction" in caught[0].filename
    assert decays(optimizer) == [0.25]


# --- schedulers, created before or after ---


def warm_up_stable_decay(step: int) -> float:
    return min((step + 1) / 4, 1.0, max(0.1, (16 - step) / 4))


SCHEDULERS: dict[str, Callable[[Optimizer], Any]] = {
    "constant": lambda optimizer: None,
    "warm-up": lambda optimizer: LambdaLR(optimizer, lambda step: (step + 1) / 10),
    "warm-up from zero": lambda optimizer: LambdaLR(optimizer, lambda step: step / 10),
    "cosine": lambda optimizer: CosineAnnealingLR(optimizer, 12),
    "one cycle": lambda optimizer: OneCycleLR(optimizer, max_lr=0.1, total_steps=15, pct_start=0.3),
    "sequential": lambda optimizer: SequentialLR(
        optimizer, [LinearLR(optimizer, 0.1, total_iters=4), CosineAnnealingLR(optimizer, 8)], [4]
    ),
    "plateau": lambda optimizer: ReduceLROnPlateau(optimizer, factor=0.5, patience=1),
    "warm-up stable decay": lambda optimizer: LambdaLR(optimizer, warm_up_stable_decay),
}
CYCLED: list[tuple[str, Build]] = [
    ("AdamW", lambda params: torch.optim.AdamW(params, lr=0.1, weight_decay=0.5)),
    ("Muon", lambda params: torch.optim.Muon(params, lr=0.1, weight_decay=0.5, momentum=0.9)),
]


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("kind", SCHEDULERS)
@pytest.mark.parametrize(("name", "build"), CYCLED, ids=[name for name, _ in CYCLED])
def test_the_decay_follows_the_scheduler(name: str, build: Build, kind: str, order: str) -> None:
    optimizer = build(parameters_of((4, 3)))
    scheduler = SCHEDULERS[kind](optimizer) if order == "before" else None
    correct(optimizer)
    scheduler = SCHEDULERS[kind](optimizer) if order == "after" else scheduler
    (group,) = optimizer.param_groups
    # One cycle: momentum at the peak is `base_momentum`, 0.85.
    peak_momentum = 0.0 if name == "AdamW" else 0.85 if kind == "one cycle" else 0.9
    reference, lrs = Reference(0.1, 0.5, nesterov_average(peak_momentum)), set()
    for step in range(14):
        lr, momentum = group["lr"], group.get("momentum", 0.0)
        train(optimizer, scheduler, range(step, step + 1))
        expected = weight_decay(lr, nesterov_average(momentum), False, reference, "corrected")
        assert group["weight_decay"] == pytest.approx(expected, rel=1e-14)
        lrs.add(lr)
    assert group["reference_lr"] == 0.1
    assert len(lrs) > 3 or kind == "constant"


def test_one_cycle_may_name_another_peak_than_the_constructor() -> None:
    for order in ("before", "after"):
        optimizer = adamw(lr=0.001)
        if order == "before":
            OneCycleLR(optimizer, max_lr=0.4, total_steps=10)
        correct(optimizer)
        if order == "after":
            OneCycleLR(optimizer, max_lr=0.4, total_steps=10)
        train(optimizer, None, range(1))
        (group,) = optimizer.param_groups
        assert group["reference_lr"] == 0.4
        assert group["weight_decay"] == pytest.approx(0.5 / 25)


def test_one_cycle_of_two_betas() -> None:
    """Lion: the first of the betas is cycled, and is base_momentum at the peak."""
    optimizer = named("Lion", "timm", betas=(0.9, 0.99))
    correct(optimizer)
    optimizer.defaults["betas"] = (0.9, 0.99)
    OneCycleLR(optimizer, max_lr=0.4, total_steps=10, base_momentum=0.7, max_momentum=0.8)
    optimizer.step()
    assert optimizer.param_groups[0]["reference_momentum"] == (0.7, 0.99)
    expected = 0.5 / 25 * lion_average(0.7, 0.99).energy / lion_average(0.8, 0.99).energy
    assert decays(optimizer) == [pytest.approx(expected)]


def test_the_reference_is_fixed_at_the_first_step_and_not_while_the_lr_is_zero() -> None:
    optimizer = adamw()
    correct(optimizer)
    (group,) = optimizer.param_groups
    group["lr"] = 0.0
    train(optimizer, None, range(1))
    assert group["reference_is_fixed"] is False
    group.update(lr=0.02, initial_lr=0.2)
    train(optimizer, None, range(1))
    assert (group["reference_lr"], group["reference_is_fixed"]) == (0.2, True)
    group["max_lr"] = 7.0
    train(optimizer, None, range(1))
    assert group["reference_lr"] == 0.2


@pytest.mark.parametrize("place", ["argument", "group"])
def test_a_given_reference_is_not_looked_for(place: str) -> None:
    optimizer = adamw({"initial_lr": 0.3, "max_lr": 0.5, **({"reference_lr": 0.2} if place == "group" else {})})
    correct(optimizer, reference_lr=0.2 if place == "argument" else None)
    train(optimizer, None, range(1))
    assert optimizer.param_groups[0]["reference_lr"] == 0.2
    assert decays(optimizer) == [0.25]


def test_a_given_reference_momentum_stays() -> None:
    group = {"params": parameters_of((4, 3)), "reference_momentum": 0.8, "nesterov": False}
    optimizer = torch.optim.Muon([group], lr=0.1, weight_decay=0.5, momentum=0.9)
    correct(optimizer)
    OneCycleLR(optimizer, max_lr=0.1, total_steps=10, div_factor=1.0, base_momentum=0.85, max_momentum=0.9)
    train(optimizer, None, range(1))
    assert decays(optimizer) == [pytest.approx(0.5 * 19 / 9)]


def test_max_lr_of_none_is_no_reference() -> None:
    """optimi's groups hold max_lr=None."""
    optimizer = adamw({"max_lr": None, "initial_lr": 0.2})
    correct(optimizer)
    assert optimizer.param_groups[0]["reference_lr"] == 0.2


# --- the faults of the field ---


def test_the_reference_is_that_of_each_group() -> None:
    """FIELD bug 2: 0.90 or 0.999 where the constructor's lr was taken for the peak of all, instead of 0.99."""
    optimizer = adamw({"lr": 0.1}, {}, lr=0.01, weight_decay=0.1)
    correct(optimizer)
    assert decay_factors(optimizer) == [pytest.approx(0.99), pytest.approx(0.999)]
    for group in optimizer.param_groups:
        group["lr"] /= 2
    assert decay_factors(optimizer) == [pytest.approx(1 - 0.01 / 4), pytest.approx(1 - 0.001 / 4)]


@pytest.mark.parametrize("order", ["attached, then loaded", "loaded, then attached"])
def test_resuming_with_another_lr_keeps_the_reference(order: str) -> None:
    """FIELD bug 1: a peak outside the checkpoint multiplied weights by -1.5 instead of 0.975."""
    optimizer = adamw()
    correct(optimizer)
    optimizer.param_groups[0]["lr"] = 0.05 * math.sqrt(2)
    assert decay_factors(optimizer) == [pytest.approx(0.975)]
    state = optimizer.state_dict()
    resumed = adamw(lr=0.001, weight_decay=7.0)
    if order == "attached, then loaded":
        correct(resumed)
        resumed.load_state_dict(state)
    else:
        resumed.load_state_dict(state)
        correct(resumed)
    assert decay_factors(resumed) == [pytest.approx(0.975)]


def test_the_verb_never_writes_to_the_optimizers_state() -> None:
    """FIELD bug 4: Adam's moments do not depend on the weights, so the verb must leave every bit of them."""
    plain, corrected = adamw(), adamw()
    correct(corrected)
    for optimizer in (plain, corrected):
        train(optimizer, LambdaLR(optimizer, cosine), range(6))
    for first, second in zip(all_parameters(plain), all_parameters(corrected), strict=True):
        assert same_bits(list(plain.state[first].values()), list(corrected.state[second].values()))


def test_no_product_accumulates() -> None:
    """λ is computed from what is stored: two steps at half the lr decay alike."""
    optimizer = adamw()
    correct(optimizer)
    optimizer.param_groups[0]["lr"] = 0.05
    for _ in range(3):
        train(optimizer, None, range(1))
        assert decays(optimizer) == [0.25]


# --- resuming and copies ---

FAMILIES = ["AdamW, foreach", "AdamW, fused", "NAdam, decoupled", "Muon", "Adafactor", "Scion", "SGDW"]


def through_a_file(state: Any) -> Any:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def with_other_numbers(optimizer: Optimizer) -> Optimizer:
    for group in optimizer.param_groups:
        group.update(lr=0.3, weight_decay=0.01)
    return optimizer


# Each pair of a rule, a schedule and an order.
RESUMED = [
    ("cosine", "corrected", "attached, then loaded"),
    ("cosine", "exact", "loaded, then attached"),
    ("cosine", "cautious", "attached, then loaded"),
    ("cosine", "hyperball", "loaded, then attached"),
    ("one cycle", "corrected", "loaded, then attached"),
    ("one cycle", "exact", "attached, then loaded"),
    ("one cycle", "cautious", "loaded, then attached"),
    ("one cycle", "hyperball", "attached, then loaded"),
    ("sequential", "corrected", "attached, then loaded"),
    ("sequential", "exact", "loaded, then attached"),
    ("sequential", "cautious", "attached, then loaded"),
    ("sequential", "hyperball", "loaded, then attached"),
]


@pytest.mark.parametrize(("kind", "rule", "order"), RESUMED)
@pytest.mark.parametrize("name", FAMILIES)
def test_a_resumed_run_continues_exactly(name: str, kind: str, rule: str, order: str) -> None:
    has_no_momentum = kind == "one cycle" and name == "Adafactor"
    if has_no_momentum:
        kind = "cosine"
    shape = (5, 4)
    optimizer = OPTIMIZERS[name](parameters_of(shape, dtype=torch.float32))
    scheduler = SCHEDULERS[kind](optimizer)
    if kind == "one cycle" and name in ("Scion", "SGDW"):
        # Built with another lr than the peak, they would lose more than the whole weight in a step, which is refused.
        optimizer.param_groups[0]["reference_lr"] = 0.1
    correct(optimizer, rule)
    train(optimizer, scheduler, range(7))
    saved = through_a_file((values(optimizer), optimizer.state_dict(), scheduler.state_dict()))
    train(optimizer, scheduler, range(7, 13))

    weights, state, position = saved
    resumed = with_other_numbers(OPTIMIZERS[name]([nn.Parameter(weight) for weight in weights]))
    resumed_scheduler = SCHEDULERS[kind](resumed)
    if order == "attached, then loaded":
        correct(resumed, rule)
        resumed.load_state_dict(state)
    else:
        resumed.load_state_dict(state)
        correct(resumed, rule)
    resumed_scheduler.load_state_dict(position)
    train(resumed, resumed_scheduler, range(7, 13))
    assert same_bits(values(resumed), values(optimizer))
    assert [{**group, "params": 0} for group in resumed.param_groups] == [
        {**group, "params": 0} for group in optimizer.param_groups
    ]


def pickled(content: Any) -> Any:
    return pickle.loads(pickle.dumps(content))


@pytest.mark.parametrize("copied", [pickled, copy.deepcopy])
@pytest.mark.parametrize("rule", ["corrected", "cautious", "hyperball"])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_copy_loses_its_hooks_and_continues_exactly_when_attached_again(
    name: str, rule: str, copied: Callable[[Any], Any]
) -> None:
    optimizer = OPTIMIZERS[name](parameters_of((5, 4), dtype=torch.float32))
    scheduler: LRScheduler = CosineAnnealingLR(optimizer, 12)
    correct(optimizer, rule)
    train(optimizer, scheduler, range(5))
    twin, twin_scheduler = copied((optimizer, scheduler))
    correct(twin, rule)
    train(optimizer, scheduler, range(5, 10))
    train(twin, twin_scheduler, range(5, 10))
    assert same_bits(values(twin), values(optimizer))


def test_a_checkpoint_has_the_last_word_and_says_so() -> None:
    optimizer = adamw()
    correct(optimizer, "exact")
    resumed = adamw()
    resumed.load_state_dict(optimizer.state_dict())
    with pytest.warns(UserWarning, match=r"from a checkpoint or a copy, with rule \{'exact'\}"):
        handle = correct(resumed, "corrected", reference_lr=0.1)
    assert resumed.param_groups[0]["decay"] == "exact"
    handle.remove()
    correct(resumed, "corrected")
    assert resumed.param_groups[0]["decay"] == "corrected"
    copied = copy.deepcopy(resumed)
    with pytest.warns(UserWarning, match=r"or a copy, with .* reference_lr \{0\.1\}"):
        correct(copied, reference_lr=0.7)


def test_a_checkpoint_without_a_correction_is_corrected_in_the_same_groups() -> None:
    """It may hold no roles, so that groups are told by their index."""
    state = adamw({}, {}, {}).state_dict()
    optimizer = adamw({"role": "hidden"}, {"role": "output"}, {"role": "hidden"}, lr=0.7, weight_decay=0.1)
    sd.correct_weight_decay(optimizer)
    optimizer.load_state_dict(state)
    for group in optimizer.param_groups:
        group.update(lr=0.05, initial_lr=0.1)
    train(optimizer, None, range(1))
    assert decays(optimizer) == [0.25, 0.5, 0.25]


def test_a_checkpoint_of_some_groups_stays_so() -> None:
    saved = adamw({}, {})
    sd.correct_weight_decay(saved, where=1)
    optimizer = adamw({}, {})
    sd.correct_weight_decay(optimizer, where=0)
    optimizer.load_state_dict(saved.state_dict())
    for group in optimizer.param_groups:
        group["lr"] = 0.05
    train(optimizer, None, range(1))
    assert decays(optimizer) == [0.5, 0.25]


@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("rule", ["corrected", "exact", "cautious", "hyperball"])
@pytest.mark.parametrize("name", ["AdamW, foreach", "Scion"])
def test_a_distributed_checkpoint_probes_and_resumes_exactly(name: str, rule: str, steps: int) -> None:
    """FIELD bug 6, through torch's own loader."""

    def built() -> tuple[nn.Module, Optimizer]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3))
        optimizer = OPTIMIZERS[name](model.parameters())
        correct(optimizer, rule)
        return model, optimizer

    model, optimizer = built()
    train(optimizer, None, range(steps))
    before = values(optimizer)
    state = copy.deepcopy(get_optimizer_state_dict(model, optimizer))
    assert same_bits(values(optimizer), before)
    weights = copy.deepcopy(model.state_dict())
    optimizer.param_groups[0]["lr"] = 0.005
    train(optimizer, None, range(steps, steps + 3))

    resumed, resumed_optimizer = built()
    resumed.load_state_dict(weights)
    set_optimizer_state_dict(resumed, resumed_optimizer, state)
    resumed_optimizer.param_groups[0]["lr"] = 0.005
    train(resumed_optimizer, None, range(steps, steps + 3))
    assert same_bits(values(resumed_optimizer), values(optimizer))


# --- tensors and compiled steps ---


@pytest.mark.parametrize("rule", DECAY_RULES)
def test_a_tensor_is_filled_in_place_and_a_float_stays_a_float(rule: str) -> None:
    lr, held = torch.tensor(0.1, dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64)
    optimizer = adamw({"lr": lr, "weight_decay": held}, {"lr": lr.clone()}, {"weight_decay": held.clone()}, {})
    correct(optimizer, rule)
    for group in optimizer.param_groups:
        group["lr"] *= 0.5
    train(optimizer, None, range(1))
    assert optimizer.param_groups[0]["weight_decay"] is held
    kinds = [type(group["weight_decay"]) for group in optimizer.param_groups]
    assert kinds == [Tensor, float, Tensor, float]
    assert decays(optimizer) == [pytest.approx(decays(optimizer)[3], rel=1e-14)] * 4
    assert (decays(optimizer)[3] == 0.5) == (rule == "constant")


def test_references_do_not_move_with_tensors() -> None:
    lr, held = torch.tensor(0.25), torch.tensor(0.5)
    optimizer = adamw({"lr": lr, "weight_decay": held}, foreach=False)
    handle = correct(optimizer)
    lr.fill_(0.125)
    train(optimizer, None, range(1))
    (group,) = optimizer.param_groups
    assert (group["reference_lr"], group["reference_weight_decay"], float(held)) == (0.25, 0.5, 0.25)
    handle.remove()
    assert group["weight_decay"] is held
    assert float(held) == 0.5


def test_no_tensor_on_an_accelerator_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading one would wait for all work of the device."""
    monkeypatch.setattr(settings, "_is_readable", lambda value: False)
    optimizer = named("AdamW", "elsewhere", lr=torch.tensor(0.1), weight_decay=torch.tensor(0.5))
    correct(optimizer, "exact", reference_lr=0.1)
    optimizer.param_groups[0].update(lr=torch.tensor(0.1), weight_decay=torch.tensor(0.5))
    assert "_local_scalar_dense" not in operations(optimizer.step)


@contextmanager
def counted_compilations() -> Iterator[tuple[list[int], Callable[..., Any]]]:
    count: list[int] = []

    def backend(graph: Any, inputs: Any) -> Any:
        count.append(len(inputs))
        return graph

    torch.compiler.reset()
    yield count, backend
    torch.compiler.reset()


COMPILED: list[tuple[str, Build, bool, int]] = [
    ("AdamW, float decay", lambda p: torch.optim.AdamW(p, lr=torch.tensor(0.1), weight_decay=0.5), True, 2),
    ("AdamW, floats", lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.5), False, 2),
    (
        "Muon, tensors",
        lambda p: torch.optim.Muon(p, lr=torch.tensor(0.1), weight_decay=torch.tensor(0.5)),  # pyright: ignore
        True,
        1,
    ),
    ("Scion, tensors", lambda p: sd.Scion(p, torch.tensor(0.1), weight_decay=torch.tensor(0.5)), True, 1),
]


@pytest.mark.parametrize(("name", "build", "is_tensor", "most"), COMPILED, ids=[name for name, *_ in COMPILED])
def test_a_compiled_step_follows_the_lr_and_compiles_at_most_once_more(
    name: str, build: Build, is_tensor: bool, most: int
) -> None:
    compiled, eager = (build(parameters_of((4, 3), dtype=torch.float32)) for _ in range(2))
    for optimizer in (compiled, eager):
        correct(optimizer)
    with counted_compilations() as (count, backend):
        step = torch.compile(compiled.step, backend=backend)
        for seed in range(12):
            for optimizer, take_step in ((compiled, step), (eager, eager.step)):
                (group,) = optimizer.param_groups
                lr = 0.05 * (1 + math.cos(seed / 5))
                group["lr"] = group["lr"].fill_(lr) if is_tensor else lr
                give_gradients(optimizer, seed)
                take_step()
        assert 1 <= len(count) <= most
    for first, second in zip(values(compiled), values(eager), strict=True):
        # Muon's polynomial runs in bfloat16, which a compiled step rounds elsewhere.
        torch.testing.assert_close(first, second, rtol=0.01, atol=0.001)
    assert decays(compiled) == decays(eager)


def test_a_step_compiled_by_inductor_follows_the_lr() -> None:
    compiled, eager = (OPTIMIZERS["AdamW, each"](parameters_of((4, 3), dtype=torch.float32)) for _ in range(2))
    for optimizer in (compiled, eager):
        correct(optimizer)
    torch.compiler.reset()
    step = torch.compile(compiled.step)
    for seed in range(4):
        for optimizer, take_step in ((compiled, step), (eager, eager.step)):
            optimizer.param_groups[0]["lr"] = 0.01 / (seed + 1)
            give_gradients(optimizer, seed)
            take_step()
    torch.compiler.reset()
    assert decays(compiled) == decays(eager) == [pytest.approx(0.25)]
    torch.testing.assert_close(values(compiled), values(eager), rtol=1e-5, atol=1e-6)


# --- GradScaler ---


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("rule", ["corrected", "cautious", "hyperball"])
def test_a_step_that_a_grad_scaler_skips_changes_no_weight(rule: str, fused: bool) -> None:
    """A fused optimizer's step is called even then, with `found_inf`."""
    optimizer = adamw(fused=fused)
    for parameter in all_parameters(optimizer):
        parameter.data = parameter.data.float()
    correct(optimizer, rule)
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale(torch.zeros(()))
    train(optimizer, None, range(2))
    before, groups = values(optimizer), [dict(group) for group in optimizer.param_groups]
    for parameter in all_parameters(optimizer):
        parameter.grad = torch.full_like(parameter, math.inf)
    scaler.step(optimizer)
    scaler.update()
    assert same_bits(values(optimizer), before)
    assert [dict(group) for group in optimizer.param_groups] == groups
    give_gradients(optimizer, 5)
    scaler.step(optimizer)
    assert not same_bits(values(optimizer), before)


# --- which groups ---

ROLES = ({"role": "hidden"}, {"role": "embedding"}, {"role": "output"}, {"role": "hidden"})


@pytest.mark.parametrize(
    ("where", "corrected"),
    [
        (None, {0, 1, 3}),
        (0, {0}),
        ([2, 0], {0, 2}),
        ("hidden", {0, 3}),
        ("output", {2}),
        (["embedding", "hidden"], {0, 1, 3}),
        (lambda group: group["role"] == "embedding", {1}),
    ],
)
def test_where(where: Any, corrected: set[int]) -> None:
    optimizer = adamw(*ROLES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sd.correct_weight_decay(optimizer, where=where)
    for group in optimizer.param_groups:
        group["lr"] = 0.05
    train(optimizer, None, range(1))
    assert decays(optimizer) == [0.25 if index in corrected else 0.5 for index in range(4)]


@pytest.mark.parametrize("build", [lambda: adamw({}, {"name": "head"}), lambda: sd.Scion(parameters_of((3, 2)), 0.1)])
def test_groups_without_roles_are_all_corrected_with_one_warning(build: Callable[[], Optimizer]) -> None:
    optimizer = build()
    with pytest.warns(UserWarning, match=r"no group has a role, .*output layer.*are corrected: group 0") as caught:
        sd.correct_weight_decay(optimizer)
    assert len(caught) == 1
    assert "test_weight_decay_correction" in caught[0].filename
    assert all(group["decay"] == "corrected" for group in optimizer.param_groups)


def test_the_warning_names_groups() -> None:
    optimizer = adamw({"name": "head"}, {}, {})
    optimizer.param_groups[1]["param_names"] = ["a.weight"]
    with pytest.warns(UserWarning, match=r"group 0 \(head\), group 1 \(a\.weight, \.\.\.\), group 2 \(1 tensors\)"):
        sd.correct_weight_decay(optimizer)


def test_groups_of_param_groups_need_nothing_said() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))
    groups = sd.param_groups(model, "adam", lr=0.1, weight_decay=0.5, overrides={"0.weight": {"decay": "exact"}})
    optimizer = torch.optim.AdamW(groups)
    sd.correct_weight_decay(optimizer)
    found = {group["role"]: group["decay"] for group in optimizer.param_groups}
    assert found == {"hidden": "exact", "output": "constant", "vector": "corrected"}
    assert "exact" in sd.describe(optimizer.param_groups)


def test_a_group_that_names_its_rule_keeps_it_unless_where_names_the_group() -> None:
    optimizer = adamw({"role": "hidden", "decay": "constant"}, {"role": "hidden"})
    handle = sd.correct_weight_decay(optimizer)
    assert [group["decay"] for group in optimizer.param_groups] == ["constant", "corrected"]
    handle.remove()
    handle = sd.correct_weight_decay(optimizer, where=0)
    assert optimizer.param_groups[0]["decay"] == "corrected"
    handle.remove()
    assert [group.get("decay") for group in optimizer.param_groups] == ["constant", None]


def test_a_group_that_is_added_later_is_corrected_where_it_belongs() -> None:
    optimizer = adamw({"role": "hidden"})
    sd.correct_weight_decay(optimizer)
    train(optimizer, None, range(1))
    for role in ("hidden", "output"):
        optimizer.add_param_group({"params": parameters_of((4, 3)), "lr": 0.2, "role": role})
    train(optimizer, None, range(1))
    for group in optimizer.param_groups:
        group["lr"] /= 2
    train(optimizer, None, range(1))
    assert decays(optimizer) == [0.25, 0.25, 0.5]


def test_an_added_group_that_no_role_names_is_left_alone() -> None:
    optimizer = adamw({"role": "hidden"})
    sd.correct_weight_decay(optimizer, where=0)
    optimizer.add_param_group({"params": parameters_of((4, 3)), "lr": 0.2})
    for group in optimizer.param_groups:
        group["lr"] /= 2
    train(optimizer, None, range(1))
    assert decays(optimizer) == [0.25, 0.5]


def test_describe_shows_the_decay_of_the_step() -> None:
    optimizer = torch.optim.Muon(parameters_of((4, 3)), lr=0.1, weight_decay=0.5)
    correct(optimizer)
    optimizer.param_groups[0]["lr"] = 0.05
    train(optimizer, None, range(2))
    assert "0.0125" in sd.describe(optimizer.param_groups)


def test_a_wanted_steady_norm_of_any_optimizer() -> None:
    optimizer = adamw({"steady_norm_sq": 2.0}, weight_decay=0.0)
    correct(optimizer)
    optimizer.param_groups[0]["lr"] = 0.05
    assert decay_factors(optimizer) == [pytest.approx(1 - 0.05**2 / (2 * 2.0), rel=1e-6)]


# --- the handle ---


@pytest.mark.parametrize("rule", [*DECAY_RULES, "cautious", "hyperball"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_remove_restores_every_key(name: str, rule: str) -> None:
    optimizer = OPTIMIZERS[name](parameters_of((6, 4)))
    before = [dict(group) for group in optimizer.param_groups]
    handle = correct(optimizer, rule, reference_lr=0.02)
    train(optimizer, None, range(2))
    handle.remove()
    assert [dict(group) for group in optimizer.param_groups] == before
    handle.remove()
    train(optimizer, None, range(2))
    assert [dict(group) for group in optimizer.param_groups] == before
    correct(optimizer, rule)


def test_remove_keeps_the_keys_that_were_there() -> None:
    optimizer = adamw({"reference_lr": 0.2, "decay": "exact", "hyperball_norms": [1.0]})
    before = dict(optimizer.param_groups[0])
    for rule in ("corrected", "hyperball"):
        handle = correct(optimizer, rule)
        train(optimizer, None, range(1))
        handle.remove()
        assert optimizer.param_groups[0] == before


def test_remove_after_loading_restores_what_was_loaded() -> None:
    saved, optimizer = adamw(weight_decay=0.25), adamw()
    correct(saved)
    handle = correct(optimizer)
    optimizer.load_state_dict(saved.state_dict())
    handle.remove()
    assert decays(optimizer) == [0.25]
    assert not {"decay", "reference_lr", "reference_is_fixed"} & set(optimizer.param_groups[0])


def test_an_older_handle_does_not_remove_a_newer_one() -> None:
    optimizer = adamw()
    older = correct(optimizer)
    older.remove()
    correct(optimizer)
    older.remove()
    assert "reference_weight_decay" in optimizer.param_groups[0]


def test_a_handle_is_a_context_manager() -> None:
    optimizer = adamw()
    with correct(optimizer) as handle:
        assert handle is not None
        optimizer.param_groups[0]["lr"] = 0.05
        train(optimizer, None, range(1))
        assert decays(optimizer) == [0.25]
    assert decays(optimizer) == [0.5]


def test_our_own_optimizers_keep_their_weight_decay_and_get_a_rule() -> None:
    optimizer = sd.Scion(parameters_of((3,)), 0.1, weight_decay=0.5)
    handle = correct(optimizer, reference_lr=0.2)
    assert decay_factors(optimizer)[0] == pytest.approx(1 - 0.05 / 2)
    assert decays(optimizer) == [0.5]
    handle.remove()
    assert (optimizer.param_groups[0]["decay"], optimizer.param_groups[0]["reference_lr"]) == ("constant", 0.1)


class Wrapper(Optimizer):
    """As Accelerate's: an optimizer by type, whose step is that of the one inside."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer

    def step(self, closure: Any = None) -> Any:
        return self.optimizer.step(closure)


def test_a_wrapper_is_seen_through() -> None:
    optimizer = adamw()
    wrapper = Wrapper(optimizer)
    handle = correct(wrapper)
    optimizer.param_groups[0]["lr"] = 0.05
    give_gradients(optimizer, 0)
    wrapper.step()
    assert decays(optimizer) == [0.25]
    with pytest.raises(ValueError, match="AdamW and already has a correction"):
        correct(wrapper)
    handle.remove()
    assert decays(optimizer) == [0.5]


# --- errors ---

L2: list[tuple[str, Build, str]] = [
    (
        "SGD",
        lambda params: torch.optim.SGD(params, 0.1, weight_decay=0.5),
        "use steadydecay.SGDW, or torch.optim.AdamW",
    ),
    ("Adam", lambda params: torch.optim.Adam(params, 0.1, weight_decay=0.5), "use decoupled_weight_decay=True"),
    ("NAdam", lambda params: torch.optim.NAdam(params, 0.1, weight_decay=0.5), "use decoupled_weight_decay=True"),
    ("RAdam", lambda params: torch.optim.RAdam(params, 0.1, weight_decay=0.5), "use decoupled_weight_decay=True"),
    ("Adagrad", lambda params: torch.optim.Adagrad(params, 0.1, weight_decay=0.5), "use torch.optim.AdamW"),
    ("RMSprop", lambda params: torch.optim.RMSprop(params, 0.1, weight_decay=0.5), "use torch.optim.AdamW"),
    ("Adadelta", lambda params: torch.optim.Adadelta(params, 0.1, weight_decay=0.5), "use torch.optim.AdamW"),
    ("Adamax", lambda params: torch.optim.Adamax(params, 0.1, weight_decay=0.5), "use torch.optim.AdamW, or NAdam"),
    ("ASGD", lambda params: torch.optim.ASGD(params, 0.1, weight_decay=0.5), "use torch.optim.AdamW, or steadydecay"),
    ("Lion", lambda params: named("Lion", "x", betas=(0.9, 0.99), weight_decouple=False), "use weight_decouple=True"),
]


@pytest.mark.parametrize("rule", ["corrected", "cautious", "hyperball"])
@pytest.mark.parametrize(("name", "build", "remedy"), L2, ids=[name for name, *_ in L2])
def test_l2_is_refused_with_its_remedy(name: str, build: Build, remedy: str, rule: str) -> None:
    optimizer = build(parameters_of((4, 3)))
    before = [dict(group) for group in optimizer.param_groups]
    with pytest.raises(ValueError, match=rf"group 0 of {name} has weight_decay=0\.5, .* as L2, .*{remedy}"):
        correct(optimizer, rule)
    assert [dict(group) for group in optimizer.param_groups] == before
    assert not optimizer._optimizer_step_pre_hooks


def test_l2_of_zero_has_nothing_to_correct_and_passes() -> None:
    correct(torch.optim.SGD(parameters_of((4, 3)), 0.1))
    correct(torch.optim.Adam(parameters_of((4, 3)), 0.1))
    groups = [{"params": parameters_of((4, 3)), "steady_norm_sq": 1.0}]
    with pytest.raises(ValueError, match="as L2"):
        correct(torch.optim.SGD(groups, 0.1))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"fixed_decay": True}, r"fixed_decay=True: the decay does not follow the lr; use fixed_decay=False"),
        ({"decouple_lr": True}, r"decouple_lr=True: the decay of a step is not lr"),
        ({"corrected_weight_decay": True}, r"corrected_weight_decay=True: the optimizer corrects the decay itself"),
        ({"normalized": True}, r"normalized=True: the optimizer corrects"),
        ({"unscaled_wd": True}, r"unscaled_wd=True: the decay does not follow"),
        ({"constraint": True}, r"constraint=True: the step decays by the lr itself"),
        ({"lr": None}, r"group 0 of AdamW has lr=None; it must be a number"),
        ({"lr": -1.0}, r"lr is -1\.0; it must be in \[0, inf\)"),
        ({"lr": 0.0}, r"reference_lr is 0\.0; it must be in \(0, inf\): set it to the lr"),
        ({"weight_decay": -1.0}, r"weight_decay is -1\.0; it must be in \[0, inf\)"),
        ({"weight_decay": 20.0}, r"reference_lr · weight_decay is 2\.0; it must be in \[0, 1\)"),
        ({"reference_lr": -1.0}, r"reference_lr is -1\.0; it must be in \[0, inf\)"),
        ({"decay": "linear"}, r"decay rule is 'linear'; it must be one of 'constant'"),
    ],
)
def test_an_illegal_group_is_refused_and_no_group_has_changed(keys: dict[str, Any], message: str) -> None:
    optimizer = adamw({"role": "hidden"}, {"role": "hidden"})
    optimizer.param_groups[0].update(keys)
    optimizer.param_groups.reverse()
    before = [dict(group) for group in optimizer.param_groups]
    with pytest.raises(ValueError, match=message.replace("group 0", "group 1")):
        sd.correct_weight_decay(optimizer)
    assert [dict(group) for group in optimizer.param_groups] == before
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"rule": "linear"}, ValueError, r"rule is 'linear'; it must be one of 'constant', .*'cautious', 'hyperball'"),
        ({"reference_lr": 0.0}, ValueError, r"reference_lr is 0\.0; it must be in \(0, inf\): .*the peak"),
        ({"reference_lr": math.nan}, ValueError, r"reference_lr is nan"),
        ({"where": 2}, ValueError, r"where has index 2; it must be in \[0, 2\)"),
        ({"where": -1}, ValueError, r"where has index -1; it must be in \[0, 2\)"),
        ({"where": [0, 5]}, ValueError, r"where has index 5"),
        (
            {"where": "conv"},
            ValueError,
            r"where has the role 'conv', which no group has; .* the roles of the groups are 'hidden', None",
        ),
        ({"where": []}, ValueError, r"where is \[\], which selects no group; it must select one or more"),
        (
            {"where": lambda group: False},
            ValueError,
            r"selects no group; .* the roles of the groups are 'hidden', None",
        ),
        ({"where": True}, TypeError, r"where has True; it must be indices, roles"),
        ({"where": [1.5]}, TypeError, r"where has 1\.5"),
    ],
)
def test_an_illegal_argument_is_refused(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    optimizer = adamw({"role": "hidden"}, {})
    before = [dict(group) for group in optimizer.param_groups]
    with pytest.raises(error, match=message):
        sd.correct_weight_decay(optimizer, **arguments)
    assert [dict(group) for group in optimizer.param_groups] == before
    assert not optimizer._optimizer_step_pre_hooks


def test_only_an_output_layer_leaves_nothing_to_correct() -> None:
    with pytest.raises(
        ValueError, match=r"where is None, which selects no group; .* the roles of the groups are 'output'"
    ):
        sd.correct_weight_decay(adamw({"role": "output"}))


def test_attaching_twice_is_refused() -> None:
    optimizer = adamw()
    handle = correct(optimizer)
    with pytest.raises(ValueError, match=r"AdamW and already has a correction; call remove\(\) on its handle first"):
        correct(optimizer)
    handle.remove()
    correct(optimizer)


def test_what_is_no_optimizer_is_refused() -> None:
    with pytest.raises(TypeError, match=r"optimizer is a str; it must be a torch\.optim\.Optimizer"):
        sd.correct_weight_decay("adamw")  # pyright: ignore[reportArgumentType]


def test_an_optimizer_without_decay_is_refused() -> None:
    with pytest.raises(ValueError, match=r"group 0 of SparseAdam has no weight_decay"):
        correct(torch.optim.SparseAdam(parameters_of((4, 3))))


def test_a_self_scheduling_adafactor_is_refused() -> None:
    with pytest.raises(ValueError, match=r"group 0 of Adafactor has lr=None"):
        correct(HuggingFaceAdafactor(parameters_of((4, 3)), weight_decay=0.5))


def test_an_illegal_rule_of_our_own_is_refused() -> None:
    optimizer = sd.Scion(parameters_of((4, 3)), 0.0, weight_decay=0.5)
    with pytest.raises(ValueError, match=r"reference_lr is 0\.0; it must be in \(0, inf\)"):
        correct(optimizer)
    assert optimizer.param_groups[0]["decay"] == "constant"


def test_a_rule_that_turns_illegal_in_a_late_group_changes_nothing() -> None:
    optimizer = adamw({}, {})
    correct(optimizer)
    optimizer.param_groups[0]["lr"] = 0.05
    optimizer.param_groups[1]["decay"] = "linear"
    before = values(optimizer)
    with pytest.raises(ValueError, match="decay rule is 'linear'"):
        train(optimizer, None, range(1))
    assert same_bits(values(optimizer), before)
    assert decays(optimizer) == [0.5, 0.5]
