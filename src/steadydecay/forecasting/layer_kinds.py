"""Kinds of layers: what a forecast needs to know about a model's parameter groups."""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, final

from torch import Tensor

from steadydecay.groups.prediction import update_norm_sq
from steadydecay.groups.settings import Group
from steadydecay.known_optimizers.known_optimizer import KnownOptimizer

# Maps name, parameter and group of a layer to ‖θ‖_F² before the first step.
InitialNormSq = Callable[[str, Tensor, Mapping[str, Any]], float]


@final
@dataclass(frozen=True)
class LayerKind:
    """Layers of one shape in one parameter group, which theory cannot tell apart.

    Attributes:
        names: The names of their parameters.
        shape: The shape of each parameter.
        count: The number of layers.
        settings: The group without its parameters: lr and momentum at their peak, weight_decay, role, norm.
        optimizer: What is known about the optimizer of the group.
        initial_norm_sq: The mean of ‖θ‖_F² before the first step.
        steady_shares: S of each step as a share of its start if a schedule changes it under corrected decay, or None.
    """

    names: tuple[str, ...]
    shape: tuple[int, ...]
    count: int
    settings: Group
    optimizer: KnownOptimizer
    initial_norm_sq: float
    steady_shares: tuple[float, ...] | None = None

    @property
    def title(self) -> str:
        """The first name with stars for numbers, and the number of other such patterns: "blocks.*.q.weight + 3
        more"."""
        first, *others = dict.fromkeys(re.sub(r"(?<=\.)\d+(?=\.)", "*", name) for name in self.names)
        return f"{first} + {len(others)} more" if others else first

    @property
    def description(self) -> str:
        """The role, norm, shape and count: "hidden spectral 512×128 ×3"."""
        norm = self.settings.get("norm", "")
        norm = norm["name"] if isinstance(norm, Mapping) else str(norm)
        size = "×".join(map(str, self.shape)) or "scalar"
        parts = (str(self.settings["role"]), norm, size, f"×{self.count}" if self.count > 1 else "")
        return " ".join(part for part in parts if part)

    @property
    def entries(self) -> int:
        """The number of weights in one layer."""
        return math.prod(self.shape)

    @property
    def own_rule(self) -> str:
        """The decay rule that the group names, or "constant" if it names none, as in torch's optimizers."""
        return self.settings.get("decay", "constant")


def layer_kinds(
    groups: Iterable[tuple[Group, KnownOptimizer]],
    initial_norm_sq: InitialNormSq,
    counts: Mapping[str, int] | None = None,
) -> list[LayerKind]:
    """Return the kinds of the parameters in `groups`, which need `param_names`. Empty parameters are left out.

    Args:
        groups: The parameter groups, each with what is known about its optimizer.
        initial_norm_sq: Returns the initial squared norm of a layer.
        counts: The number of layers that a parameter stands for, or 1 if it is not listed.
    """
    kinds = []
    for group, optimizer in groups:
        by_shape: dict[tuple[int, ...], list[tuple[str, float]]] = defaultdict(list)
        for name, parameter in zip(group["param_names"], group["params"], strict=True):
            if parameter.numel():
                by_shape[tuple(parameter.shape)].append((name, initial_norm_sq(name, parameter, group)))
        settings = {key: value for key, value in group.items() if key not in ("params", "param_names")}
        for shape, members in by_shape.items():
            names = tuple(name for name, _ in members)
            count = sum((counts or {}).get(name, 1) for name in names)
            mean = sum(norm_sq for _, norm_sq in members) / len(members)
            kinds.append(LayerKind(names, shape, count, settings, optimizer, mean))
    return kinds


def unit_norm_sq(name: str, parameter: Tensor, group: Mapping[str, Any]) -> float:
    """Return ‖θ‖² after `steadydecay.init_`, where gains start at 1 and biases at 0; groups without a norm have 0."""
    if "norm" not in group or name.endswith("bias"):
        return 0.0
    is_gain = parameter.ndim < 2 or group["role"] == "vector"
    return float(parameter.numel()) if is_gain else update_norm_sq(group, tuple(parameter.shape))


def norm_sq_of_rms(rms: float) -> InitialNormSq:
    """Give every layer the ‖θ‖² that corresponds to this root mean square."""
    return lambda name, parameter, group: rms**2 * parameter.numel()
