"""An optimizer of a user's own, made known in one call: correction, schedule, monitor."""

import math
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import steadydecay as sd
from steadydecay.known_optimizers import table
from steadydecay.known_optimizers.table import known_optimizer
from steadydecay.theory import correlation, exponential_average, steady_norm_sq

STEPS, ETA = 1500, 0.02


class MySign(torch.optim.Optimizer):
    """Sign of an average whose β is under a key of its own, or of which the key holds 1-β."""

    def __init__(self, params: Any, lr: float, beta: float = 0.9, weight_decay: float = 0.0, is_share: bool = False):
        super().__init__(params, {"lr": lr, "beta": beta, "weight_decay": weight_decay, "is_share": is_share})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            beta = 1 - group["beta"] if group["is_share"] else group["beta"]
            for parameter in group["params"]:
                average: Tensor = self.state[parameter].setdefault("average", torch.zeros_like(parameter))
                average.lerp_(parameter.grad, 1 - beta)
                parameter.mul_(1 - group["lr"] * group["weight_decay"]).sub_(average.sign() * group["lr"])


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    registered = dict(table._REGISTERED)
    yield
    table._REGISTERED.clear()
    table._REGISTERED.update(registered)


def my_sign(**keys: Any) -> MySign:
    weight = nn.Parameter(torch.zeros(64, 32))
    return MySign([{"params": [weight], "role": "hidden"}], lr=0.01, weight_decay=ETA / 0.01, **keys)


def walk(optimizer: torch.optim.Optimizer, scheduler: Any = None, steps: int = STEPS) -> None:
    generator = torch.Generator().manual_seed(0)
    (parameter,) = optimizer.param_groups[0]["params"]
    for _ in range(steps):
        parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()
        if scheduler is not None:
            scheduler.step()


@pytest.mark.parametrize(("beta", "convention"), [(0.9, "average"), (0.1, "share")])
def test_the_correction_follows_its_momentum(beta: float, convention: Any) -> None:
    sd.register_optimizer(MySign, sized_by="sign", momentum="beta", convention=convention)
    optimizer = my_sign(beta=beta, is_share=convention == "share")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sd.correct_weight_decay(optimizer)
    (group,) = optimizer.param_groups
    group["beta"] = 0.5
    walk(optimizer, steps=1)
    expected = ETA / 0.01 * exponential_average(0.9).energy / exponential_average(0.5).energy
    assert group["weight_decay"] == pytest.approx(expected)


def test_a_schedule_of_the_effective_lr_writes_its_key() -> None:
    sd.register_optimizer(MySign, sized_by="sign", momentum="beta", convention="share")
    optimizer = my_sign(beta=0.1, is_share=True)
    scheduler = sd.EffectiveLR(optimizer, "linear", steps=10, via="momentum")
    walk(optimizer, scheduler, steps=1)
    (group,) = optimizer.param_groups
    assert sd.theory.effective_lr(0.01, 1 - group["beta"]) == pytest.approx(0.9 * sd.theory.effective_lr(0.01, 0.9))


def test_the_monitor_predicts_its_norm_and_reads_its_momentum() -> None:
    sd.register_optimizer(MySign, sized_by="sign", momentum="beta", momentum_state="average")
    optimizer = my_sign()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        watch = sd.watch(optimizer)
    walk(optimizer)
    measures = watch.metrics()
    predicted = measures["group/hidden/predicted_norm"]
    assert predicted == pytest.approx(math.sqrt(64 * 32 * steady_norm_sq(0.01, ETA, 0.9, lmo="sign")))
    assert measures["group/hidden/weight_norm"] == pytest.approx(predicted, rel=0.03)
    assert measures["group/hidden/effective_lr"] == pytest.approx(sd.theory.effective_lr(0.01, 0.9))
    assert measures["group/hidden/momentum_norm"] > 0 and measures["group/hidden/tuc"] > 0
    assert correlation(0.9, "sign") < 0.9


def test_a_class_derived_from_it_counts_as_it_and_a_known_class_can_be_said_anew() -> None:
    sd.register_optimizer(MySign, sized_by="sign", momentum="beta")
    derived = type("Derived", (MySign,), {})([nn.Parameter(torch.ones(2, 2))], lr=0.1)
    known = known_optimizer(derived, derived.param_groups[0])
    assert known is not None and known.title == "MySign"
    adamw = torch.optim.AdamW([nn.Parameter(torch.ones(2, 2))])
    sd.register_optimizer(torch.optim.AdamW, sized_by="sign", momentum=("betas", 0))
    known = known_optimizer(adamw, adamw.param_groups[0])
    assert known is not None and known.read(adamw.param_groups[0]) == 0.9


@pytest.mark.parametrize("rule", ["corrected", ("corrected", "cautious")])
def test_a_correction_that_was_attached_before_goes_on_without_momentum(rule: Any) -> None:
    """Its reference has none, so that a momentum of now would multiply the decay."""
    optimizer = my_sign()
    with pytest.warns(UserWarning, match="assumed constant"):
        handle = sd.correct_weight_decay(optimizer, rule)
    sd.register_optimizer(MySign, sized_by="sign", momentum="beta")
    before = optimizer.param_groups[0]["params"][0].detach().clone()
    walk(optimizer, steps=1)
    if rule == "corrected":
        assert optimizer.param_groups[0]["weight_decay"] == ETA / 0.01
    assert torch.equal(before, torch.zeros_like(before))
    handle.remove()
    assert "momentum_is_assumed" not in optimizer.param_groups[0]
    sd.correct_weight_decay(optimizer, rule)
    assert optimizer.param_groups[0]["reference_momentum"] == 0.9


def test_lion_in_two_keys_a_plain_average_and_a_sum() -> None:
    lion = sd.register_optimizer(MySign, sized_by="sign", momentum=("beta1", "beta2"))
    assert lion.of({"beta1": 0.9, "beta2": 0.99}) == sd.theory.lion_average(0.9, 0.99)
    plain = sd.register_optimizer(MySign, sized_by="gradient", momentum="beta")
    assert plain.of({"beta": 0.9}).energy == pytest.approx(1)
    total = sd.register_optimizer(MySign, sized_by="gradient", momentum="beta", convention="sum")
    assert total.of({"beta": 0.9}).energy == pytest.approx(0.01)
    adam = sd.register_optimizer(MySign, sized_by="second moment", momentum=None)
    assert adam.of({}).energy == 1


def test_what_is_not_known_is_measured_and_not_predicted_with_one_warning() -> None:
    optimizer = my_sign()
    with pytest.warns(UserWarning, match=r"MySign is not in .* groups \[0\] .*register_optimizer") as caught:
        watch = sd.watch(optimizer)
        walk(optimizer, steps=3)
    assert len(caught) == 1
    assert watch.metrics()["group/hidden/weight_norm"] > 0
    guesses = ("predicted_norm", "predicted_norm_measured", "norm_ratio", "effective_lr")
    assert not {f"group/hidden/{name}" for name in guesses} & watch.metrics().keys()
    with pytest.raises(ValueError, match=r"group 0 of MySign, but MySign is not in .*register"):
        sd.EffectiveLR(optimizer, steps=10, via="momentum")


@pytest.mark.parametrize(("key", "fault"), [("x", "KeyError: 'x' among .*'beta'"), (("beta", 0), "TypeError: .*float")])
def test_a_momentum_that_is_not_where_it_was_said_to_be_is_shown(key: Any, fault: str) -> None:
    sd.register_optimizer(MySign, sized_by="sign", momentum=key)
    optimizer = my_sign()
    said = f"MySign's momentum cannot be read as its entry .* says .{fault}"
    with pytest.warns(UserWarning, match=f"{said}.*, so the norms of .* not predicted"):
        sd.watch(optimizer)
    with pytest.raises(ValueError, match=f"group 0 of MySign, but {said}"):
        sd.EffectiveLR(optimizer, steps=10, via="momentum")
    with pytest.warns(UserWarning, match=f"{said}.*, so its momentum is assumed constant"):
        sd.correct_weight_decay(optimizer)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sized_by": "signs"}, r"sized_by is 'signs'; it must be one of 'norm', 'sign'"),
        (
            {"sized_by": "sign", "convention": "alpha"},
            r"convention is 'alpha'; it must be one of 'average', 'share', 'sum'",
        ),
        ({"sized_by": "sign", "decay": "none"}, r"decay is 'none'; it must be one of 'decoupled'"),
        (
            {"sized_by": "sign", "momentum": ("a", "b"), "convention": "sum"},
            r"momentum is \('a', 'b'\) with",
        ),
        ({"sized_by": "sign", "momentum": 3}, r"momentum is 3 with convention='average'; it must be a key"),
    ],
)
def test_a_word_that_is_none_is_refused_and_nothing_has_changed(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sd.register_optimizer(MySign, **arguments)
    optimizer = my_sign()
    assert known_optimizer(optimizer, optimizer.param_groups[0]) is None


def test_what_is_no_optimizer_class_is_refused() -> None:
    not_a_class: Any = my_sign()
    with pytest.raises(TypeError, match=r"optimizer_class is an object of MySign; it must be a class"):
        sd.register_optimizer(not_a_class, sized_by="sign")
