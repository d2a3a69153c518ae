"""Which momentum sets the size of an optimizer's summed updates, as its groups hold it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from steadydecay.theory.filters import MomentumFilter, lion_average, unchecked_filter


class UpdateMomentum(NamedTuple):
    """How to read an optimizer's momentum from a group.

    Attributes:
        read: group -> the hyperparameter as the group holds it (a float, a tensor, Lion's two betas).
        filter: (that hyperparameter, nesterov) -> the filter that the update's direction went through.
    """

    read: Callable[[Mapping[str, Any]], Any]
    filter: Callable[[Any, bool], MomentumFilter]

    def of(self, group: Mapping[str, Any]) -> MomentumFilter:
        """The filter of the group's next step."""
        return self.filter(self.read(group), group.get("nesterov", False))

    def reference_of(self, group: Mapping[str, Any]) -> MomentumFilter:
        """The filter of the group's `reference_momentum`."""
        return self.filter(group["reference_momentum"], group.get("nesterov", False))


# Scion, Muon: an average of gradients, whose direction is then normalised.
AVERAGE = UpdateMomentum(lambda group: group["momentum"], unchecked_filter)
# Lion: two betas, then the sign.
LION = UpdateMomentum(lambda group: group["betas"], lambda betas, nesterov: lion_average(*betas))
# Adam: the second moment normalises, so that momentum does not change what a minibatch adds in all (Appendix B).
NO_MOMENTUM = UpdateMomentum(lambda group: 0.0, unchecked_filter)
