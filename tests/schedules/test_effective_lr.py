"""EffectiveLR: the effective lr follows the shape exactly, whatever carries it, and resumes exactly."""

import copy
import io
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim.lr_scheduler import LinearLR, SequentialLR

import steadydecay as sd
from steadydecay.known_optimizers.update_momentum import AVERAGE, HEAVY_BALL
from steadydecay.optim.scion import Scion, ScionC
from steadydecay.schedules.effective_lr import EffectiveLR, lr_and_momentum
from steadydecay.schedules.shapes import SHAPES
from steadydecay.theory import effective_lr

VIAS: list[Any] = ["lr", "momentum", "both"]
STEPS = 40


def parameters(count: int = 1) -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(3)) for _ in range(count)]


def two_groups(**settings: Any) -> Scion:
    first, second = parameters(2)
    groups = [{"params": [first]}, {"params": [second], "lr": 0.02, "momentum": 0.5, "nesterov": True}]
    return Scion(groups, **{"lr": 0.1, "momentum": 0.95, **settings})


def advance(optimizer: torch.optim.Optimizer, scheduler: Any, steps: int) -> None:
    for _ in range(steps):
        optimizer.step()
        scheduler.step()


def effective_lrs(optimizer: torch.optim.Optimizer) -> list[float]:
    groups = optimizer.param_groups
    return [effective_lr(float(g["lr"]), float(g["momentum"]), g["nesterov"]) for g in groups]


def lrs_and_momenta(optimizer: torch.optim.Optimizer) -> list[tuple[float, float]]:
    return [(float(group["lr"]), float(group["momentum"])) for group in optimizer.param_groups]


def group_values(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    return [{key: copy.copy(group[key]) for key in group if key != "params"} for group in optimizer.param_groups]


# --- the pure function ---

shares, momenta, lrs = st.floats(1e-6, 1), st.floats(0, 0.99), st.floats(1e-6, 10)


@settings(deadline=None)
@given(share=shares, lr=lrs, momentum=momenta, nesterov=st.booleans(), via=st.sampled_from(VIAS))
def test_the_effective_lr_is_the_share_of_the_initial_one(
    share: float, lr: float, momentum: float, nesterov: bool, via: Any
) -> None:
    new_lr, new_momentum = lr_and_momentum(share, lr, momentum, nesterov, via)
    expected = share * effective_lr(lr, momentum, nesterov)
    assert effective_lr(new_lr, new_momentum, nesterov) == pytest.approx(expected, rel=1e-12)
    assert share * lr * (1 - 1e-12) <= new_lr <= lr
    assert 0 <= new_momentum <= momentum + 1e-9


@settings(deadline=None)
@given(share=shares, lr=lrs, momentum=momenta, via=st.sampled_from(VIAS))
def test_under_sgd_it_is_the_lr_over_one_minus_momentum(share: float, lr: float, momentum: float, via: Any) -> None:
    new_lr, new_momentum = lr_and_momentum(share, lr, momentum, False, via, HEAVY_BALL)
    assert new_lr / (1 - new_momentum) == pytest.approx(share * lr / (1 - momentum), rel=1e-12)
    assert 0 <= new_momentum <= momentum + 1e-9


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("carrier", [AVERAGE, HEAVY_BALL])
def test_momentum_carries_first_and_the_lr_the_rest(carrier: Any, nesterov: bool) -> None:
    reach = 0.1 / effective_lr(0.1, carrier.filter(0.9, nesterov))
    for share in (1.0, 0.9, 0.5 * (1 + reach), 1.01 * reach):
        lr, momentum = lr_and_momentum(share, 0.1, 0.9, nesterov, "momentum", carrier)
        assert lr == 0.1
        assert 0 < momentum <= 0.9
    for share in (0.99 * reach, 0.5 * reach, 0.0):
        lr, momentum = lr_and_momentum(share, 0.1, 0.9, nesterov, "momentum", carrier)
        assert (lr, momentum) == (pytest.approx(0.1 * share / reach), 0.0)


def test_both_take_the_same_part_in_the_logarithm() -> None:
    lr, momentum = lr_and_momentum(0.25, 0.1, 0.9, False, "both")
    assert lr == pytest.approx(0.05)
    # Of (1+β)/(1-β), which is 19 at 0.9, a quarter is left.
    assert (1 + momentum) / (1 - momentum) == pytest.approx(19 / 4)
    assert lr_and_momentum(0.04, 0.1, 0.9, False, "both") == (pytest.approx(0.04 * 0.1 * math.sqrt(19)), 0.0)


@pytest.mark.parametrize("via", VIAS)
@pytest.mark.parametrize("nesterov", [False, True])
def test_a_share_of_one_is_bitwise_the_start_and_zero_is_still(via: Any, nesterov: bool) -> None:
    assert lr_and_momentum(1.0, 0.1, 0.97, nesterov, via) == (0.1, 0.97)
    assert lr_and_momentum(0.0, 0.1, 0.97, nesterov, via)[0] == 0.0
    assert lr_and_momentum(0.5, 0.0, 0.97, nesterov, via) == (0.0, 0.97)


# --- the scheduler ---


@pytest.mark.parametrize("via", VIAS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_step_of_every_group_has_the_effective_lr_of_the_shape(shape: str, via: Any) -> None:
    optimizer = two_groups()
    start = effective_lrs(optimizer)
    scheduler = EffectiveLR(optimizer, shape, steps=STEPS, warmup_steps=5, via=via)
    for step in range(STEPS + 5):
        share = SHAPES[shape](step, STEPS, 5)
        assert scheduler.share == share
        assert effective_lrs(optimizer) == pytest.approx([share * value for value in start], rel=1e-12, abs=1e-15)
        assert scheduler.get_last_lr() == [group["lr"] for group in optimizer.param_groups]
        advance(optimizer, scheduler, 1)


def test_via_lr_leaves_momentum_and_is_bitwise_the_share() -> None:
    optimizer = two_groups()
    scheduler = EffectiveLR(optimizer, "cosine", steps=STEPS)
    for step in range(STEPS + 1):
        share = SHAPES["cosine"](step, STEPS, 0)
        assert lrs_and_momenta(optimizer) == [(share * 0.1, 0.95), (share * 0.02, 0.5)]
        advance(optimizer, scheduler, 1)
    assert "initial_momentum" not in optimizer.param_groups[0]


def test_via_momentum_holds_the_lr_until_momentum_is_gone() -> None:
    optimizer = two_groups()
    scheduler = EffectiveLR(optimizer, "linear", steps=STEPS, via="momentum")
    lowered_at = []
    for _ in range(STEPS):
        lr, momentum = lrs_and_momenta(optimizer)[0]
        lowered_at.append(momentum == 0.0)
        assert (lr == 0.1) == (momentum > 0)
        advance(optimizer, scheduler, 1)
    # γ_eff is √39 = 6.2 times the lr at 0.95, so that momentum reaches down to a share of 0.16.
    assert lowered_at == [1 - step / STEPS < 1 / math.sqrt(39) for step in range(STEPS)]


def test_a_callable_shape() -> None:
    optimizer = two_groups()
    scheduler = EffectiveLR(optimizer, lambda step: 1 / (1 + step), steps=4, via="both")
    start = effective_lrs(optimizer)
    seen = []
    for _ in range(7):
        seen.append(effective_lrs(optimizer)[0] / start[0])
        advance(optimizer, scheduler, 1)
    assert seen == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4, 1 / 5, 1 / 5, 1 / 5])


@pytest.mark.parametrize("via", VIAS)
def test_tensors_are_filled_in_place(via: Any) -> None:
    lr, momentum = torch.tensor(0.1, dtype=torch.float64), torch.tensor(0.95, dtype=torch.float64)
    optimizer = Scion(parameters(), lr, momentum)
    scheduler = EffectiveLR(optimizer, "cosine", steps=STEPS, warmup_steps=5, via=via)
    for step in range(STEPS):
        assert optimizer.param_groups[0]["lr"] is lr
        assert optimizer.param_groups[0]["momentum"] is momentum
        expected = SHAPES["cosine"](step, STEPS, 5) * effective_lr(0.1, 0.95)
        assert effective_lrs(optimizer) == pytest.approx([expected], rel=1e-12)
        advance(optimizer, scheduler, 1)
    assert float(optimizer.param_groups[0]["initial_lr"]) == 0.1


@pytest.mark.parametrize("via", VIAS)
def test_initial_values_are_kept_in_the_group(via: Any) -> None:
    optimizer = two_groups()
    EffectiveLR(optimizer, steps=STEPS, warmup_steps=9, via=via)
    groups = optimizer.state_dict()["param_groups"]
    assert [group["initial_lr"] for group in groups] == [0.1, 0.02]
    if via != "lr":
        assert [group["initial_momentum"] for group in groups] == [0.95, 0.5]
    assert [group["reference_lr"] for group in groups] == [0.1, 0.02]


def test_a_group_with_lr_zero_stays_at_rest() -> None:
    optimizer = Scion([{"params": parameters()}, {"params": parameters(), "lr": 0.0}], lr=0.1)
    scheduler = EffectiveLR(optimizer, steps=STEPS, via="momentum")
    advance(optimizer, scheduler, 20)
    assert lrs_and_momenta(optimizer)[1] == (0.0, 0.9)


def test_a_group_added_later_starts_from_what_it_has() -> None:
    optimizer = two_groups()
    scheduler = EffectiveLR(optimizer, "linear", steps=STEPS, via="momentum")
    advance(optimizer, scheduler, 9)
    optimizer.add_param_group({"params": parameters(), "lr": 0.3, "momentum": 0.8})
    advance(optimizer, scheduler, 1)
    assert effective_lrs(optimizer)[2] == pytest.approx(0.75 * effective_lr(0.3, 0.8), rel=1e-12)
    assert (optimizer.param_groups[2]["initial_lr"], optimizer.param_groups[2]["initial_momentum"]) == (0.3, 0.8)


# --- other optimizers ---


@pytest.mark.parametrize("nesterov", [False, True])
def test_torch_muon(nesterov: bool) -> None:
    optimizer = torch.optim.Muon([nn.Parameter(torch.ones(3, 2))], lr=0.1, momentum=0.95, nesterov=nesterov)
    scheduler = EffectiveLR(optimizer, "linear", steps=4, via="momentum")
    advance(optimizer, scheduler, 3)
    assert effective_lrs(optimizer) == pytest.approx([0.25 * effective_lr(0.1, 0.95, nesterov)], rel=1e-12)


class SGDW(torch.optim.SGD):
    """Found by its name or a base class's."""


@pytest.mark.parametrize("optimizer_class", [torch.optim.SGD, SGDW])
def test_sgd_sums_its_gradients(optimizer_class: type[torch.optim.SGD]) -> None:
    optimizer = optimizer_class(parameters(), lr=0.1, momentum=0.9)
    scheduler = EffectiveLR(optimizer, "linear", steps=4, via="momentum")
    for share in (1.0, 0.75, 0.5, 0.25):
        lr, momentum = lrs_and_momenta(optimizer)[0]
        assert (lr, lr / (1 - momentum)) == (0.1, pytest.approx(share, rel=1e-12))
        advance(optimizer, scheduler, 1)
    assert lrs_and_momenta(optimizer) == [(0.0, 0.0)]


def test_adam_under_via_lr() -> None:
    optimizer = torch.optim.AdamW(parameters(), lr=0.1)
    advance(optimizer, EffectiveLR(optimizer, "linear", steps=4), 1)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.075)


# --- resuming ---


def through_a_file(content: Any) -> Any:
    file = io.BytesIO()
    torch.save(content, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("is_tensor", [False, True])
@pytest.mark.parametrize("via", VIAS)
def test_resume_into_a_scheduler_built_with_other_numbers_is_exact(via: Any, is_tensor: bool) -> None:
    optimizer = two_groups(lr=torch.tensor(0.1), momentum=torch.tensor(0.95)) if is_tensor else two_groups()
    scheduler = EffectiveLR(optimizer, "wsd", steps=STEPS, warmup_steps=5, via=via)
    advance(optimizer, scheduler, 17)
    saved = through_a_file([optimizer.state_dict(), scheduler.state_dict()])
    other = two_groups(lr=0.7, momentum=0.2)
    other_scheduler = EffectiveLR(other, "linear", steps=9, via="lr")
    other.load_state_dict(saved[0])
    other_scheduler.load_state_dict(saved[1])
    for _ in range(30):
        assert lrs_and_momenta(other) == lrs_and_momenta(optimizer)
        assert other_scheduler.last_epoch == scheduler.last_epoch
        advance(optimizer, scheduler, 1)
        advance(other, other_scheduler, 1)


@pytest.mark.parametrize("via", VIAS)
def test_resume_by_last_epoch(via: Any) -> None:
    """As in torch, the constructor makes the step after `last_epoch`."""
    optimizer = two_groups()
    scheduler = EffectiveLR(optimizer, "cosine", steps=STEPS, warmup_steps=5, via=via)
    advance(optimizer, scheduler, 17)
    other = two_groups(lr=0.7, momentum=0.2)
    other.load_state_dict(through_a_file(optimizer.state_dict()))
    other_scheduler = EffectiveLR(other, "cosine", steps=STEPS, warmup_steps=5, via=via, last_epoch=16)
    for _ in range(30):
        assert lrs_and_momenta(other) == lrs_and_momenta(optimizer)
        advance(optimizer, scheduler, 1)
        advance(other, other_scheduler, 1)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda content: pickle.loads(pickle.dumps(content))])
def test_a_copy_continues_exactly(copied: Callable[[Any], Any]) -> None:
    optimizer = two_groups()
    scheduler = EffectiveLR(optimizer, "cosine", steps=STEPS, via="momentum")
    advance(optimizer, scheduler, 7)
    other, other_scheduler = copied((optimizer, scheduler))
    for _ in range(30):
        advance(optimizer, scheduler, 1)
        advance(other, other_scheduler, 1)
        assert lrs_and_momenta(other) == lrs_and_momenta(optimizer)


def test_a_callable_is_not_saved_and_must_be_given_again() -> None:
    def shape(step: int) -> float:
        return 1 - step / 80

    optimizer = two_groups()
    scheduler = EffectiveLR(optimizer, shape, steps=STEPS)
    advance(optimizer, scheduler, 3)
    saved = through_a_file(scheduler.state_dict())
    named = EffectiveLR(two_groups(), steps=3)
    before = dict(named.state_dict())
    with pytest.raises(
        ValueError, match="shape is 'cosine', but the saved one was a callable; construct the scheduler wi"
    ):
        named.load_state_dict(saved)
    assert named.state_dict() == before
    resumed = EffectiveLR(two_groups(), shape, steps=3)
    resumed.load_state_dict(saved)
    assert (resumed.shape, resumed.steps, resumed.last_epoch) == (shape, STEPS, 3)
    scheduler.load_state_dict(before)
    assert scheduler.shape == "cosine"


def test_after_a_warm_up_of_torch_in_a_sequence() -> None:
    optimizer = two_groups()
    start = effective_lrs(optimizer)
    warm_up = LinearLR(optimizer, 0.1, total_iters=5)
    decline = EffectiveLR(optimizer, "linear", steps=10, via="momentum")
    sequence = SequentialLR(optimizer, [warm_up, decline], milestones=[5])
    shares = [0.1 + 0.18 * step for step in range(5)] + [1 - step / 10 for step in range(10)]
    for share in shares:
        assert effective_lrs(optimizer) == pytest.approx([share * value for value in start], rel=1e-12)
        advance(optimizer, sequence, 1)


def test_two_of_them_in_a_sequence_resume_exactly() -> None:
    def build() -> tuple[Scion, SequentialLR]:
        optimizer = two_groups()
        first = EffectiveLR(optimizer, lambda step: (step + 1) / 5, steps=5, via="both")
        second = EffectiveLR(optimizer, "linear", steps=10, via="both")
        return optimizer, SequentialLR(optimizer, [first, second], milestones=[5])

    optimizer, sequence = build()
    start = effective_lr(0.1, 0.95)
    for step in range(9):
        share = (step + 1) / 5 if step < 5 else 1 - (step - 5) / 10
        assert effective_lrs(optimizer)[0] == pytest.approx(share * start, rel=1e-12)
        advance(optimizer, sequence, 1)
    saved = through_a_file([optimizer.state_dict(), sequence.state_dict()])
    other, other_sequence = build()
    other.load_state_dict(saved[0])
    other_sequence.load_state_dict(saved[1])
    for _ in range(4):
        assert lrs_and_momenta(other) == lrs_and_momenta(optimizer)
        advance(optimizer, sequence, 1)
        advance(other, other_sequence, 1)


# --- the weight norm ---


@pytest.mark.parametrize(("via", "nesterov"), [("lr", False), ("momentum", True), ("both", False), ("both", True)])
def test_the_norm_of_scionc_stays_and_that_of_scion_falls(via: Any, nesterov: bool) -> None:
    def mean_squares(optimizer_class: type[Scion]) -> list[float]:
        weight, steps = nn.Parameter(torch.zeros(6000, dtype=torch.float64)), 1440
        keys: dict[str, Any] = {"nesterov": nesterov, "norm": "bias", "weight_decay": 0.08}
        optimizer = optimizer_class([weight], lr=0.05, momentum=0.9, **keys)
        scheduler = EffectiveLR(optimizer, "wsd", steps=steps, via=via)
        generator, found = torch.Generator().manual_seed(3), []
        for _ in range(steps):
            weight.grad = torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
            advance(optimizer, scheduler, 1)
            found.append(weight.detach().square().mean().item())
        return found

    steady, falling = mean_squares(ScionC), mean_squares(Scion)
    stable = sum(steady[840:1140]) / 300
    # 3 % of the norm is 6 % of its square.
    assert max(abs(value / stable - 1) for value in steady[1140:]) < 0.06
    assert falling[-1] < 0.85 * falling[1140]


# --- errors ---

BAD: list[tuple[dict[str, Any], str]] = [
    ({"via": "momenta"}, r"via is 'momenta'; it must be one of 'lr', 'momentum', 'both'"),
    ({"shape": "cos"}, r"shape is 'cos'; it must be one of 'cosine', 'linear', 'wsd', 'constant', or a callable"),
    ({"shape": lambda step: 2.0}, r"shape\(0\) is 2\.0; it must be in \[0, 1\]"),
    ({"steps": 0}, r"steps is 0; it must be in \[1, inf\)"),
    ({"warmup_steps": STEPS}, r"warmup_steps is 40; it must be in \[0, 40\)"),
    ({"last_epoch": 3}, r"last_epoch is 3, but group 0 has no 'initial_lr'; load the optimizer's state dict first"),
]


@pytest.mark.parametrize(("keys", "message"), BAD)
def test_an_illegal_argument_is_refused_and_nothing_has_changed(keys: dict[str, Any], message: str) -> None:
    optimizer = two_groups()
    before = group_values(optimizer)
    with pytest.raises(ValueError, match=message):
        EffectiveLR(optimizer, **{"steps": STEPS, **keys})
    assert group_values(optimizer) == before
    assert not hasattr(optimizer.step, "_wrapped_by_lr_sched")


MOMENTUM_BAD: list[tuple[Callable[[], torch.optim.Optimizer], str]] = [
    (lambda: torch.optim.AdamW(parameters()), r"group 0 of AdamW does not change .*second moment.*; use via='lr'"),
    (lambda: torch.optim.RMSprop(parameters(), momentum=0.9), r"group 0 of RMSprop, but no filter of .* is known"),
    (
        lambda: torch.optim.SGD(parameters(), momentum=0.9, dampening=0.5),
        r"group 0 of SGD, but dampening=0\.5 also scales .*; use via='lr'",
    ),
    (lambda: torch.optim.SGD(parameters(), momentum=1.0), r"momentum is 1\.0; it must be in \[0, 1\)"),
    (lambda: Scion(parameters(), 0.1, 1 - 1e-14), r"effective_lr is .*; it must be in \[0\.1, 100000\.0\)"),
]


@pytest.mark.parametrize("via", ["momentum", "both"])
@pytest.mark.parametrize(("build", "message"), MOMENTUM_BAD)
def test_a_momentum_that_cannot_carry_is_refused(
    build: Callable[[], torch.optim.Optimizer], message: str, via: Any
) -> None:
    optimizer = build()
    before = group_values(optimizer)
    with pytest.raises(ValueError, match=message):
        EffectiveLR(optimizer, steps=STEPS, via=via)
    assert group_values(optimizer) == before
    EffectiveLR(optimizer, steps=STEPS, via="lr")


def test_a_resume_by_momentum_needs_its_start() -> None:
    optimizer = two_groups()
    EffectiveLR(optimizer, steps=STEPS)
    with pytest.raises(ValueError, match="last_epoch is 3, but group 0 has no 'initial_momentum'"):
        EffectiveLR(optimizer, steps=STEPS, via="momentum", last_epoch=3)


def test_not_an_optimizer() -> None:
    optimizer: Any = nn.Linear(2, 2)
    with pytest.raises(TypeError, match=r"optimizer is a Linear; it must be a torch\.optim\.Optimizer"):
        EffectiveLR(optimizer, steps=STEPS)


@pytest.mark.parametrize("via", VIAS)
def test_a_shape_that_fails_later_changes_neither_groups_nor_count(via: Any) -> None:
    optimizer = two_groups()
    scheduler = EffectiveLR(optimizer, lambda step: 1.0 - step if step != 1 else 7.0, steps=STEPS, via=via)
    # The first step fixes the references.
    optimizer.step()
    before = group_values(optimizer)
    for _ in range(2):
        optimizer.step()
        with pytest.raises(ValueError, match=r"shape\(1\) is 7\.0"):
            scheduler.step()
        assert group_values(optimizer) == before
        assert scheduler.last_epoch == 0


def test_a_group_added_later_that_cannot_follow_changes_no_group() -> None:
    optimizer = torch.optim.SGD(parameters(), lr=0.1, momentum=0.9)
    scheduler = EffectiveLR(optimizer, "linear", steps=STEPS, via="momentum")
    optimizer.add_param_group({"params": parameters(), "momentum": 1.0})
    before = group_values(optimizer)
    optimizer.step()
    with pytest.raises(ValueError, match=r"momentum is 1\.0"):
        scheduler.step()
    assert group_values(optimizer) == before


def test_it_is_public() -> None:
    assert sd.EffectiveLR is EffectiveLR
