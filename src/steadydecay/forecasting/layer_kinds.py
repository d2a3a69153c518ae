"""Kinds of layers: what of a model's parameter groups a forecast needs."""

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

# name, parameter and group of a layer -> ‖θ‖_F² before the first step
InitialNormSq = Callable[[str, Tensor, Mapping[str, Any]], float]


@final
@dataclass(frozen=True)
class LayerKind:
    """Layers of one shape in one parameter group, which theory cannot tell apart.

    Attributes:
        names: their parameters' names.
        shape: of each.
        count: how many there are.
        settings: the group without its parameters: lr and momentum at their peak, weight_decay, role, norm.
        optimizer: what is known of what steps the group.
        initial_norm_sq: mean of ‖θ‖_F² before the first step.
        steady_shares: S of each step as a share of its start, where a schedule moves it under corrected decay; else
            None.
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
        """The first name with its numbers as stars, and how many other such patterns: "blocks.*.q.weight + 3 more"."""
        first, *others = dict.fromkeys(re.sub(r"(?<=\.)\d+(?=\.)", "*", name) for name in self.names)
        return f"{first} + {len(others)} more" if others else first

    @property
    def description(self) -> str:
        """Role, norm, shape and count: "hidden spectral 512×128 ×3"."""
        norm = self.settings.get("norm", "")
        norm = norm["name"] if isinstance(norm, Mapping) else str(norm)
        size = "×".join(map(str, self.shape)) or "scalar"
        parts = (str(self.settings["role"]), norm, size, f"×{self.count}" if self.count > 1 else "")
        return " ".join(part for part in parts if part)

    @property
    def entries(self) -> int:
        """Weights in one layer."""
        return math.prod(self.shape)

    @property
    def own_rule(self) -> str:
        """The decay rule that the group names; "constant" where it names none, as in torch's optimizers."""
        return self.settings.get("decay", "constant")


def layer_kinds(
    groups: Iterable[tuple[Group, KnownOptimizer]],
    initial_norm_sq: InitialNormSq,
    counts: Mapping[str, int] | None = None,
) -> list[LayerKind]:
    """Kinds of the parameters in `groups`, which have `param_names`; empty parameters are left out.

    Args:
        groups: parameter groups, each with what is known of what steps it.
        initial_norm_sq: of a layer.
        counts: how many layers a parameter stands for, 1 if not named.
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
    """‖θ‖² after `steadydecay.init_`, where a gain starts at one and a bias at zero; 0 in groups without a norm."""
    if "norm" not in group or name.endswith("bias"):
        return 0.0
    is_gain = parameter.ndim < 2 or group["role"] == "vector"
    return float(parameter.numel()) if is_gain else update_norm_sq(group, tuple(parameter.shape))


def norm_sq_of_rms(rms: float) -> InitialNormSq:
    """‖θ‖² of weights with this root mean square, for every layer."""
    return lambda name, parameter, group: rms**2 * parameter.numel()
