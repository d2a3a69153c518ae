"""What is known of one optimizer: the one type of the table."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, final

from steadydecay.known_optimizers.update_momentum import UpdateMomentum
from steadydecay.theory.filters import MomentumFilter

# How `weight_decay` acts on a weight: θ ← (1-γλ)θ; θ ← (1-λγ/γ_max)θ; θ ← (1-λ)θ whatever the lr; through the
# gradient; already in proportion to γ²; θ ← (1-γλ)θ only where that does not fight the update; on a sequence whose
# average is the weights; or not at all, because something else takes its place.
DecayAction = Literal["decoupled", "relative", "independent", "l2", "corrected", "cautious", "averaged", "replaced"]
# What fixes the size of an update: the group's own norm, the sign of each entry, the polar factor of each matrix, the
# second moment of each entry, nothing but the gradient's own size, or something else (the weight's own size, a schedule
# inside the optimizer), so that nothing tells before training.
SizedBy = Literal["norm", "sign", "polar factor", "second moment", "gradient", "other"]


@final
@dataclass(frozen=True)
class KnownOptimizer:
    """What the correction, schedules, the monitor, forecasts and `inspect` know of an optimizer.

    Attributes:
        title: its name for a reader.
        sized_by: what fixes the size of an update.
        momentum: how its momentum is read, written and filtered; None where no filter of this kind describes it.
        decay: how `weight_decay` acts, unless a group key or an attribute of the optimizer says otherwise
            (`steadydecay.known_optimizers.decay_action`).
        smoothing: the average that correlates updates where momentum does not set the size of their sum (Adam's β₁).
        momentum_state: name of the state tensor that holds the momentum; empty where none is known.
        momentum_state_holds: the average m ← βm + (1-β)g, or the sum b ← βb + g.
        second_moments: names of the state tensors that divide an update as Adam's do, the first that is there.
        group_keys: (keys that a group of a state dict has, keys that it has not), which give the optimizer away.
        instead: what to use in place of an optimizer whose decay is L2.
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
        """The momentum of a group, as `UpdateMomentum.read`."""
        return self._known_momentum.read(group)

    def of(self, group: Mapping[str, Any]) -> MomentumFilter:
        """The filter of the group's next step."""
        return self._known_momentum.of(group)

    def correlating_filter(self, group: Mapping[str, Any]) -> MomentumFilter:
        """The filter that correlates the group's updates: of `smoothing`, or else of the momentum.

        Adam's β₁ does not change what a gradient adds in all (arXiv 2512.08217, Appendix B), so the decay rules need
        not follow it; but its updates are as correlated as their average, and smaller by as much.
        """
        try:
            return self.of(group) if self.smoothing is None else self.smoothing.of(group)
        except LookupError:
            return self.of(group)

    def reference_of(self, group: Mapping[str, Any]) -> MomentumFilter:
        """The filter of the group's `reference_momentum`."""
        return self._known_momentum.reference_of(group)

    @property
    def _known_momentum(self) -> UpdateMomentum:
        assert self.momentum is not None, f"the momentum of {self.title} is not known"
        return self.momentum
