"""The groups and layers that an optimizer has at present, with what is known of each."""

from collections.abc import Mapping
from typing import Any, final

from torch import Tensor
from torch.optim import Optimizer

from steadydecay.known_optimizers.update_momentum import NO_MOMENTUM, known_update_momentum
from steadydecay.known_optimizers.wrappers import owner_of
from steadydecay.monitor.chunks import Scratch
from steadydecay.monitor.decay_clock import decay_of_step, is_decay_known, is_decoupled
from steadydecay.monitor.facts import GroupFacts, facts_of
from steadydecay.monitor.host import Number
from steadydecay.monitor.stacks import stacks_of
from steadydecay.monitor.watched_layers import layers_of


@final
class Roster:
    """Made anew when groups come, go or are loaded.

    Attributes:
        layers: in the optimizer's order.
        stacks: of the same layers.
    """

    def __init__(self, optimizer: Optimizer, scratch: Scratch) -> None:
        self._groups = list(optimizer.param_groups)
        self._parameters = _parameters(optimizer)
        self._owners = [owner_of(optimizer, group) for group in self._groups]
        pairs = list(zip(self._owners, self._groups, strict=True))
        self._momenta = [known_update_momentum(*pair) or NO_MOMENTUM for pair in pairs]
        self._decoupled = [is_decoupled(*pair, index) for index, pair in enumerate(pairs)]
        self.layers = layers_of(optimizer)
        self.stacks = stacks_of(self.layers, scratch)

    def is_of(self, optimizer: Optimizer) -> bool:
        """Whether the optimizer still has these groups and parameters and no others."""
        groups, parameters = optimizer.param_groups, _parameters(optimizer)
        return _are_same(groups, self._groups) and _are_same(parameters, self._parameters)

    def decays(self) -> list[Number]:
        """η of the step that is being taken, of each group; 0 where it is not known."""
        known = zip(self._owners, self._groups, self._momenta, self._decoupled, strict=True)
        return [decay_of_step(*of_group) for of_group in known]

    def facts(self, decays: list[Number]) -> list[GroupFacts]:
        """What a reader of this step must know of each group."""
        columns = zip(self._groups, self._owners, self._momenta, decays, self._decoupled, strict=True)
        return [
            facts_of(group, index, owner, momentum, decay, is_decay_known(group, decoupled))
            for index, (group, owner, momentum, decay, decoupled) in enumerate(columns)
        ]

    def without_gradient(self) -> set[str]:
        """Names of layers that have no gradient now."""
        return {layer.name for layer in self.layers if layer.parameter.grad is None}

    def with_unknown_decay(self) -> list[int]:
        """Indices of groups whose weight_decay does not act as 1-η."""
        pairs = enumerate(zip(self._groups, self._decoupled, strict=True))
        return [index for index, (group, decoupled) in pairs if not is_decay_known(group, decoupled)]

    def state(self) -> dict[str, Any]:
        """By name, what must be kept of each layer."""
        return {layer.name: stack.state_of(at) for stack in self.stacks for at, layer in enumerate(stack.layers)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take what `state` gave of the layers that are here."""
        for stack in self.stacks:
            for at, layer in enumerate(stack.layers):
                if layer.name in state:
                    stack.restore(at, state[layer.name])


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _are_same(first: list[Any], second: list[Any]) -> bool:
    return len(first) == len(second) and all(one is other for one, other in zip(first, second, strict=True))
