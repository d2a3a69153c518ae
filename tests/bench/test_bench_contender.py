"""A contestant's weights, gradients and steps."""

from typing import Any

import pytest
import torch
from torch import Tensor

from steadydecay.bench.contender import Contender
from steadydecay.bench.peers import Contestant
from steadydecay.bench.shape_sets import Entry
from steadydecay.polar import express

CPU = torch.device("cpu")
ENTRIES = [Entry("a", (4, 6), "hidden"), Entry("gain", (6,), "vector")]


def gradients() -> list[Tensor]:
    return [torch.ones(4, 6), torch.ones(6)]


class AddsOne(torch.optim.Optimizer):
    """Fills weights with 5 in the first step, clears gradients, and says which form is chosen."""

    def __init__(self, params: Any) -> None:
        super().__init__(params, {})
        self.forms: list[str] = []

    def step(self, closure: Any = None) -> Any:
        for parameter in self.param_groups[0]["params"]:
            assert torch.is_grad_enabled()
            parameter.data.add_(parameter.grad + (0 if self.forms else 5))
            parameter.grad = None
        self.forms.append(express.chosen_form(torch.ones(1, 4, 4), torch.float32))


def contender(**settings: Any) -> Contender:
    contestant = Contestant("x", lambda _, weights: [AddsOne(weights.every())], "x", **settings)
    return Contender(contestant, ENTRIES, gradients(), CPU)


def test_the_first_step_is_taken_at_the_start_and_later_ones_get_gradients_anew() -> None:
    one = contender()
    one.start(None)
    assert all(bool((weight == 6).all()) for weight in one.weights.every())
    one.give_gradients()
    one.step()
    assert all(bool((weight == 7).all()) for weight in one.weights.every())


def test_a_step_from_zero_leaves_only_its_update() -> None:
    one = contender()
    one.start(None)
    one.step_from_zero()
    assert all(bool((weight == 1).all()) for weight in one.weights.every())


@pytest.mark.parametrize("writes", [False, True])
def test_gradients_are_shared_unless_they_are_written_to(writes: bool) -> None:
    one, shared = contender(writes_gradients=writes), gradients()
    one.gradients = shared
    one.start(None)
    one.give_gradients()
    pairs = list(zip(one.weights.every(), shared, strict=True))
    assert all((weight.grad is gradient) is not writes for weight, gradient in pairs)
    assert all(weight.grad is not None and torch.equal(weight.grad, gradient) for weight, gradient in pairs)
    assert one.given_bytes() == (2 if writes else 1) * 30 * 4


def test_a_form_is_forced_in_every_step() -> None:
    free, forced = contender(), contender(form="plain")
    for one in (free, forced):
        one.start(None)
        one.step_from_zero()
    (optimizer,) = forced.optimizers
    assert isinstance(optimizer, AddsOne)
    assert optimizer.forms == ["plain", "plain"]
    (optimizer,) = free.optimizers
    assert isinstance(optimizer, AddsOne)
    assert "plain" not in optimizer.forms
