"""The entry that the table of known optimizers has for one optimizer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, final

from steadydecay.known_optimizers.update_momentum import UpdateMomentum
from steadydecay.theory.filters import MomentumFilter

# How `weight_decay` acts on a weight: θ ← (1-γλ)θ; θ ← (1-λγ/γ_max)θ; θ ← (1-λ)θ whatever the lr; through the
# gradient; already in proportion to γ²; θ ← (1-γλ)θ only where that does not oppose the update; or not at all, because
# something else takes its place.
DecayAction = Literal["decoupled", "relative", "independent", "l2", "corrected", "cautious", "replaced"]
# What determines the size of an update: the group's own norm, the sign of each entry, the polar factor of each matrix,
# the second moment of each entry, the gradient's own size, or something else (the weight's own size, a schedule inside
# the optimizer), which cannot be known before training.
SizedBy = Literal["norm", "sign", "polar factor", "second moment", "gradient", "other"]


@final
@dataclass(frozen=True)
class KnownOptimizer:
    """What the correction, the schedules, the monitor, the forecasts and `inspect` know about an optimizer.

    Attributes:
        title: The name of the optimizer as readers know it.
        sized_by: What determines the size of an update.
        momentum: How its momentum is read, written and filtered, or None if no filter of this kind describes it.
        decay: How `weight_decay` acts, unless a group key or an attribute of the optimizer says otherwise
            (`steadydecay.known_optimizers.decay_action`).
        smoothing: The average that correlates updates if momentum does not set the size of their sum (Adam's β₁).
        momentum_state: The name of the state tensor that holds the momentum; empty if none is known.
        momentum_state_holds: Whether that tensor is the average m ← βm + (1-β)g or the sum b ← βb + g.
        second_moments: The names of state tensors that divide an update as Adam's do. The first that exists is used.
        group_keys: The keys that a group in a state dict has, and the keys that it does not have, by which the
            optimizer is recognised.
        instead: What to use instead of an optimizer whose decay is L2.
    """

    title: str
    sized_by: SizedBy
    momentum: UpdateMomentum | None
    decay: DecayAction = "decoupled"
    smoothing: UpdateMomentum | None = None
    momentum_state: str = ""
    momentum_state_holds: Literal["average", "sum"] = "average"
    second_moments: tuple[str, ...] = ()
    group_keys: tuple[frozenset[str], frozenset[str]] | None = None
    instead: str = ""

    def read(self, group: Mapping[str, Any]) -> Any:
        """Return the momentum of a group, as `UpdateMomentum.read` does."""
        return self._known_momentum.read(group)

    def of(self, group: Mapping[str, Any]) -> MomentumFilter:
        """Return the filter of the group's next step."""
        return self._known_momentum.of(group)

    def correlating_filter(self, group: Mapping[str, Any]) -> MomentumFilter:
        """Return the filter that correlates the group's updates: that of `smoothing`, or else that of the momentum.

        Adam's β₁ does not change what a gradient adds in all (arXiv 2512.08217, Appendix B), so the decay rules need
        not follow it. But Adam's updates are as correlated as their average, and smaller by as much.
        """
        try:
            return self.of(group) if self.smoothing is None else self.smoothing.of(group)
        except LookupError:
            return self.of(group)

    def reference_of(self, group: Mapping[str, Any]) -> MomentumFilter:
        """Return the filter of the group's `reference_momentum`."""
        return self._known_momentum.reference_of(group)

    @property
    def _known_momentum(self) -> UpdateMomentum:
        assert self.momentum is not None, f"The momentum of {self.title} is not known."
        return self.momentum
