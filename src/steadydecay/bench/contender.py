"""A contestant with its own weights, which takes one step after the other."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, final

import torch
from torch import Tensor

from steadydecay.bench.contender_weights import ModelWeights, zero_weights
from steadydecay.bench.forced_form import forced_form, one_lane
from steadydecay.bench.peers import Contestant, Optimizers
from steadydecay.bench.shape_sets import Entry


@final
class Contender:
    """The weights of a shape set and their optimizers, which exist from `start` on.

    Args:
        gradients: Gradients that are shared with other contenders, in the order of `ModelWeights.every`.
    """

    def __init__(
        self, contestant: Contestant, entries: Sequence[Entry], gradients: Sequence[Tensor], device: torch.device
    ) -> None:
        self.contestant = contestant
        self.entries = entries
        self.gradients = gradients
        self.device = device
        self.weights = ModelWeights([], [], [])
        self.optimizers: Optimizers = []

    def start(self, module: Any) -> None:
        """Create the weights, and the optimizers from the contestant's module, and take the first step."""
        self.weights = zero_weights(self.entries, self.device)
        if self.contestant.writes_gradients:
            self.gradients = [one.clone() for one in self.gradients]
        self.give_gradients()
        self.optimizers = self.contestant.make(module, self.weights)
        self.step()

    def given_bytes(self) -> int:
        """Return the bytes of the weights, and of gradients that are not shared."""
        count = sum(weight.nbytes for weight in self.weights.every())
        return count * (2 if self.contestant.writes_gradients else 1)

    def give_gradients(self) -> None:
        """Set the gradients before each step, because some optimizers clear them."""
        for weight, gradient in zip(self.weights.every(), self.gradients, strict=True):
            weight.grad = gradient

    def step(self) -> None:
        form = self.contestant.form
        lanes = one_lane() if self.contestant.is_shared else nullcontext()
        with forced_form(form) if form else nullcontext(), lanes:
            for optimizer in self.optimizers:
                optimizer.step()

    def step_from_zero(self) -> None:
        """Take a step from zero weights, which must not be the first: some optimizers fill the weights anew in that
        one."""
        for weight in self.weights.every():
            weight.detach().zero_()
        self.give_gradients()
        self.step()
