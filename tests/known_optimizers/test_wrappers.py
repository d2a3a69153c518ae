"""Of every wrapper the optimizer that really steps is found, corrected, measured and scheduled, or it is refused."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from wrapping_optimizers import (
    LR,
    WEIGHT_DECAY,
    WRAPPERS,
    Holder,
    SharpnessAware,
    Step,
    network,
    sam,
    step,
    step_in_two,
)

import steadydecay as sd
from steadydecay.known_optimizers.table import known_optimizer
from steadydecay.known_optimizers.wrappers import followed, owner_of, runs_hooks, unwrapped

over_wrappers = pytest.mark.parametrize(("build", "take_step"), WRAPPERS.values(), ids=WRAPPERS.keys())


def correct(optimizer: Any, **arguments: Any) -> Any:
    return sd.correct_weight_decay(optimizer, where=lambda group: True, **arguments)


def set_keys(wrapper: Any, **keys: float) -> None:
    """In the groups of the wrapper, and in those of what it holds."""
    outer = wrapper.param_groups if isinstance(wrapper, Optimizer) else []
    for group in (*outer, *unwrapped(wrapper).param_groups):
        group.update(keys)


def weights(model: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


@over_wrappers
def test_the_decay_of_a_corrected_step_is_that_of_the_rule_bitwise(build: Any, take_step: Step) -> None:
    """λ at half the reference lr is half as large."""
    by_verb, by_hand = network(), network()
    corrected, plain = build(by_verb), build(by_hand)
    handle = correct(corrected, reference_lr=LR)
    set_keys(corrected, lr=LR / 2)
    set_keys(plain, lr=LR / 2, weight_decay=WEIGHT_DECAY / 2)
    for seed in range(3):
        take_step(corrected, by_verb, seed)
        take_step(plain, by_hand, seed)
    assert all(torch.equal(a, b) for a, b in zip(weights(by_verb), weights(by_hand), strict=True))
    handle.remove()
    assert unwrapped(corrected).param_groups[0]["weight_decay"] == WEIGHT_DECAY


@over_wrappers
def test_every_step_is_measured_once(build: Any, take_step: Step) -> None:
    model = network()
    wrapper = build(model)
    watch = sd.watch(wrapper)
    for seed in range(3):
        take_step(wrapper, model, seed)
    assert watch.measured_step == 3
    norm = watch.metrics()["layer/group_0.0/weight_norm"]
    if type(wrapper).__name__ not in ("Lookahead", "WSAM", "ScheduleFreeWrapper"):
        # These move the weights once more after the step that is measured.
        assert norm == pytest.approx(float(next(model.parameters()).detach().norm()))
    watch.remove()
    take_step(wrapper, model, 3)
    assert watch.measured_step == 3


@over_wrappers
def test_what_is_known_of_the_optimizer_inside_is_known_of_the_wrapper(build: Any, take_step: Step) -> None:
    wrapper = build(network())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        correct(wrapper)
    optimizer = wrapper if isinstance(wrapper, Optimizer) else unwrapped(wrapper)
    known = known_optimizer(optimizer, optimizer.param_groups[0])
    assert known is not None and known.title == "AdamW"


@pytest.mark.parametrize("take_step", [step_in_two])
def test_a_checkpoint_of_sam_resumes_with_its_references(take_step: Step) -> None:
    model = network()
    optimizer = sam(model)
    correct(optimizer)
    take_step(optimizer, model, 0)
    state = optimizer.state_dict()
    resumed_model = network()
    resumed = SharpnessAware(resumed_model.parameters(), torch.optim.AdamW, lr=7 * LR, weight_decay=0.1)
    correct(resumed)
    resumed.load_state_dict(state)
    set_keys(resumed, lr=LR / 2)
    take_step(resumed, resumed_model, 1)
    assert resumed.base_optimizer.param_groups[0]["weight_decay"] == WEIGHT_DECAY / 2


def test_cautious_decay_compares_with_the_weights_before_the_inner_step() -> None:
    """Both hooks of the wrapper and of what it holds run: the decay is taken once."""
    by_two, by_closure = network(), network()
    first, second = sam(by_two), sam(by_closure)
    for optimizer in (first, second):
        sd.correct_weight_decay(optimizer, "cautious", where=lambda group: True)
    for seed in range(3):
        WRAPPERS["SAM, two steps"][1](first, by_two, seed)
        WRAPPERS["SAM, closure"][1](second, by_closure, seed)
    assert all(torch.equal(a, b) for a, b in zip(weights(by_two), weights(by_closure), strict=True))


# --- schedules ---


def test_a_schedule_on_a_wrapper_is_asked_for_its_peak() -> None:
    model = network()
    optimizer = sam(model)
    scheduler = LambdaLR(optimizer, lambda step: 8 * min(1.0, (step + 1) / 4) if step < 6 else 1.0)
    correct(optimizer)
    found = {}
    for seed in range(7):
        lr = optimizer.param_groups[0]["lr"]
        step_in_two(optimizer, model, seed)
        found[lr] = optimizer.param_groups[0]["weight_decay"]
        scheduler.step()
    assert found[8 * LR] == WEIGHT_DECAY
    assert found[LR] == WEIGHT_DECAY / 8


@pytest.mark.parametrize("kind", ["SAM", "holder"])
def test_the_effective_lr_of_what_a_wrapper_holds_is_scheduled(kind: str) -> None:
    keys: dict[str, Any] = {"lr": 0.1, "momentum": 0.9}
    model = network()
    if kind == "SAM":
        wrapper: Any = SharpnessAware(model.parameters(), sd.Scion, **keys)
    else:
        wrapper = Holder(sd.Scion(model.parameters(), **keys), "_optimizer")
    scheduler = sd.EffectiveLR(wrapper, "linear", steps=10, via="momentum")
    group = unwrapped(wrapper).param_groups[0]
    for _ in range(5):
        scheduler.optimizer.step = lambda closure=None: None  # pyright: ignore[reportAttributeAccessIssue]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scheduler.step()
    expected = 0.5 * sd.theory.effective_lr(0.1, 0.9)
    assert sd.theory.effective_lr(group["lr"], group["momentum"]) == pytest.approx(expected)


def test_an_optimizer_that_knows_its_wrapper_is_the_one_that_steps() -> None:
    model = network()
    wrapper = WRAPPERS["points back"][0](model)
    assert followed(wrapper.wrapped) == followed(wrapper) == [wrapper.wrapped]
    assert owner_of(wrapper.wrapped, wrapper.param_groups[0]) is wrapper.wrapped


# --- several inside, and shards ---


class Both(Optimizer):
    """Two optimizers of different weights, whose groups it shares, under names of their own."""

    def __init__(self, matrices: Optimizer, others: Optimizer) -> None:
        self.matrices, self.others = matrices, others
        super().__init__([*matrices.param_groups, *others.param_groups], {})

    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.matrices.step()
        self.others.step()


def two_optimizers(model: nn.Module) -> tuple[Optimizer, Optimizer]:
    matrices = [parameter for parameter in model.parameters() if parameter.ndim == 2]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim == 1]
    keys: dict[str, Any] = {"lr": LR, "weight_decay": WEIGHT_DECAY}
    return torch.optim.Muon(matrices, **keys), torch.optim.AdamW(vectors, **keys)


def test_a_step_of_several_counts_once_and_each_group_is_known_by_its_owner() -> None:
    model = network()
    both = Both(*two_optimizers(model))
    assert followed(both) == [both]
    assert [type(owner_of(both, group)).__name__ for group in both.param_groups] == ["Muon", "AdamW"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        correct(both)
        watch = sd.watch(both)
    for group in both.param_groups:
        group["lr"] = LR / 2
    step(both, model, 0)
    assert watch.measured_step == 1
    assert [group["weight_decay"] for group in both.param_groups] == [WEIGHT_DECAY / 2] * 2


@pytest.mark.parametrize("verb", [correct, sd.watch])
def test_several_without_a_step_to_follow_are_refused(verb: Any) -> None:
    muon, adam = two_optimizers(network())
    holder = Holder(muon, "muon")
    holder.adam = adam  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ValueError, match=r"a Holder, which holds several optimizers \(Muon and AdamW\)"):
        verb(holder)
    assert not muon._optimizer_step_pre_hooks


@pytest.mark.parametrize("verb", [correct, sd.watch, lambda optimizer: sd.EffectiveLR(optimizer, steps=3)])
@pytest.mark.parametrize("given", ["adamw", None, Holder(nn.Linear(2, 2), "model"), nn.Linear(2, 2)])
def test_what_holds_no_optimizer_is_refused_with_the_remedy(verb: Any, given: Any) -> None:
    with pytest.raises(TypeError, match=rf"a {type(given).__name__}; it must be .*pass the torch optimizer"):
        verb(given)


def test_a_sharded_optimizer_is_followed_by_its_own_step(tmp_path: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        model = network()
        optimizer = ZeroRedundancyOptimizer(
            model.parameters(), torch.optim.AdamW, lr=LR, weight_decay=WEIGHT_DECAY, overlap_with_ddp=False
        )
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            correct(optimizer)
            watch = sd.watch(optimizer)
        optimizer.param_groups[0]["lr"] = LR / 2
        step(optimizer, model, 0)
        assert optimizer.optim.param_groups[0]["weight_decay"] == WEIGHT_DECAY / 2
        assert watch.measured_step == 1
    finally:
        dist.destroy_process_group()


def test_a_share_of_the_weights_is_not_what_a_wrapper_steps() -> None:
    """As ZeroRedundancyOptimizer on several processes: the one inside has the share of one of them."""
    model = network()
    outer = torch.optim.AdamW(model.parameters(), lr=LR)
    outer.optim = torch.optim.AdamW([next(model.parameters())], lr=LR)  # pyright: ignore[reportAttributeAccessIssue]
    assert followed(outer) == [outer]


def test_which_steps_run_hooks() -> None:
    wrapper = WRAPPERS["timm Lookahead"][0](network())
    assert not runs_hooks(wrapper)
    assert runs_hooks(unwrapped(wrapper))
    assert not runs_hooks("adamw")
