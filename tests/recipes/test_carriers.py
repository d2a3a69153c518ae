"""What carries the cosine: closed forms of each carrier, and runs that are built, stepped and refused."""

import math
from typing import Any

import pytest
import torch

from steadydecay.groups.prediction import applied_decay, stepped_by
from steadydecay.groups.settings import decay_of
from steadydecay.known_optimizers.update_momentum import AVERAGE
from steadydecay.recipes.carriers import CARRIERS, Carried, Moment, MomentumRule
from steadydecay.recipes.gpt.model import GPT
from steadydecay.recipes.gpt.recipe import gpt_recipe
from steadydecay.recipes.optimizers import OPTIMIZERS
from steadydecay.recipes.schedule import RunSchedule
from steadydecay.schedules.shapes import cosine
from steadydecay.theory.steady_state import effective_lr

PEAK = Carried(0.03, 0.9)
STEPS = 10
SCION = MomentumRule(AVERAGE, nesterov=False)


def quantity(exponent: float, carried: Carried) -> float:
    return carried.lr / (1 - carried.momentum) ** exponent


# The quantity that each carrier lets follow the share.
FOLLOWS = {
    "lr": lambda carried: carried.lr,
    "momentum": lambda carried: effective_lr(*carried),
    "both": lambda carried: effective_lr(*carried),
    "root": lambda carried: quantity(0.5, carried),
    "ratio": lambda carried: quantity(1.0, carried),
    "linear_momentum": lambda carried: carried.lr,
}


@pytest.mark.parametrize("name", CARRIERS)
@pytest.mark.parametrize("share", [1.0, 0.9, 0.5, 0.25, 0.05, 0.0])
def test_its_quantity_follows_the_share(name: str, share: float) -> None:
    carried = CARRIERS[name](Moment(share, 0.5), PEAK, SCION)
    assert carried.lr >= 0 and 0 <= carried.momentum < 1
    follows = FOLLOWS[name]
    assert follows(carried) == pytest.approx(share * follows(PEAK), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", ["momentum", "root", "ratio"])
def test_the_lr_stays_until_momentum_is_used_up(name: str) -> None:
    early, late = (CARRIERS[name](Moment(share, 0.5), PEAK, SCION) for share in (0.9, 0.01))
    assert early.lr == PEAK.lr and 0 < early.momentum < PEAK.momentum
    assert late.lr < PEAK.lr and late.momentum == 0


@pytest.mark.parametrize(("progress", "momentum"), [(0.0, 0.9), (0.5, 0.45), (1.0, 0.0)])
def test_linear_momentum_goes_to_none(progress: float, momentum: float) -> None:
    carried = CARRIERS["linear_momentum"](Moment(1.0, progress), PEAK, SCION)
    assert carried.momentum == pytest.approx(momentum)


def built(optimizer: str, **given: Any) -> tuple[torch.optim.Optimizer, RunSchedule]:
    recipe = gpt_recipe("mini", optimizer, {"steps": STEPS, **given})
    made = OPTIMIZERS[optimizer](GPT(17, layers=1, heads=1, width=8), recipe)
    return made, RunSchedule(made, recipe)


def hidden(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    return next(group for group in optimizer.param_groups if group["role"] == "hidden")


@pytest.mark.parametrize("name", CARRIERS)
def test_a_run_writes_what_its_carrier_says_and_resumes_it(name: str) -> None:
    optimizer, schedule = built("scionc", carrier=name)
    start, decay = Carried(hidden(optimizer)["lr"], 0.9), decay_of(hidden(optimizer))
    for step in range(STEPS):
        expected = CARRIERS[name](Moment(cosine(step, STEPS), step / STEPS), start, SCION)
        group = hidden(optimizer)
        assert (group["lr"], group["momentum"]) == pytest.approx(tuple(expected))
        # Eq. 4, which ScionC follows through either of them.
        ratio = effective_lr(*expected) / effective_lr(*start)
        assert decay_of(group) == pytest.approx(decay * ratio**2)
        if step == STEPS // 2:
            twin, twin_schedule = built("scionc", carrier=name)
            twin.load_state_dict(optimizer.state_dict())
            twin_schedule.load_state_dict(schedule.state_dict())
            optimizer, schedule = twin, twin_schedule
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize("carrier", ["momentum", "both"])
def test_under_sgd_one_minibatch_in_all_adds_lr_over_one_minus_momentum(carrier: str) -> None:
    optimizer, schedule = built("sgdw", carrier=carrier, warmup_steps=0)
    peak = quantity(1.0, carried_by(optimizer))
    for step in range(STEPS):
        assert quantity(1.0, carried_by(optimizer)) == pytest.approx(cosine(step, STEPS) * peak)
        optimizer.step()
        schedule.step()


def carried_by(optimizer: torch.optim.Optimizer) -> Carried:
    return Carried(hidden(optimizer)["lr"], hidden(optimizer)["momentum"])


@pytest.mark.parametrize("optimizer", ["scionc", "scion", "adamc"])
def test_lr_squared_ignores_momentum_and_spares_the_output_layer(optimizer: str) -> None:
    carrier = "lr" if optimizer == "adamc" else "linear_momentum"
    made, schedule = built(optimizer, carrier=carrier, decay_rule="lr_squared", warmup_steps=0)
    before = decays(made)
    for _ in range(STEPS // 2):
        made.step()
        schedule.step()
    share = cosine(STEPS // 2, STEPS)
    for group, after, decay in zip(made.param_groups, decays(made), before, strict=True):
        exponent = 1 if group["role"] == "output" else 2
        assert after == pytest.approx(decay * share**exponent)


def decays(optimizer: torch.optim.Optimizer) -> list[float]:
    return [applied_decay(group, stepped_by(optimizer, group)) for group in optimizer.param_groups]


def test_the_output_layer_is_corrected_on_demand() -> None:
    for corrected in (False, True):
        made, schedule = built("scionc", correct_output=corrected)
        (output,) = (group for group in made.param_groups if group["role"] == "output")
        before = decay_of(output)
        for _ in range(STEPS // 2):
            made.step()
            schedule.step()
        assert decay_of(output) == pytest.approx(before * cosine(STEPS // 2, STEPS) ** (2 if corrected else 1))


REFUSED = [
    ("scionc", {"carrier": "momentun"}, r"carrier is 'momentun'; did you mean 'momentum'\?"),
    ("adamc", {"carrier": "momentum"}, r"carrier is 'momentum', and the momentum of 'adamc' does not carry"),
    ("adamw", {"decay_rule": "corrected"}, r"decay_rule is 'corrected' for 'adamw', whose λ is constant"),
    ("scionc", {"decay_rule": "corected"}, r"decay_rule is 'corected'; did you mean 'corrected'\?"),
    ("adamw", {"nesterov": True}, r"nesterov is True, and 'adamw' has no such choice"),
    ("scionc", {"beta2": 0.9}, r"beta2 is 0\.9, and 'scionc' has no second beta"),
    ("adamw", {"beta2": 1.0}, r"beta2 is 1\.0; legal is \[0, 1\)"),
]


@pytest.mark.parametrize(("optimizer", "given", "message"), REFUSED)
def test_what_an_optimizer_does_not_have_is_refused(optimizer: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        built(optimizer, **given)


@pytest.mark.parametrize(("optimizer", "nesterov"), [("scionc", True), ("sgdw", True), ("muon", False)])
def test_nesterov_and_beta2_reach_the_optimizer(optimizer: str, nesterov: bool) -> None:
    assert hidden(built(optimizer, nesterov=nesterov)[0])["nesterov"] is nesterov
    assert hidden(built("adamc", beta2=0.8)[0])["betas"][1] == 0.8
    assert hidden(built("lion", beta2=0.8)[0])["betas"][1] == 0.8
    assert math.isclose(hidden(built("adamw")[0])["betas"][1], 0.95)
