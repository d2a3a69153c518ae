"""The rows of an inspection: the norms of each weight beside its prediction."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, final, get_args

from steadydecay.inspection.layer_settings import LayerSettings
from steadydecay.inspection.plain_names import natural_order, short_name
from steadydecay.inspection.stored_weight import StoredWeight
from steadydecay.inspection.weight_measures import Measures

Sort = Literal["ratio", "rms", "norm", "spectral", "name", "size"]


@final
@dataclass(frozen=True)
class Layer:
    """One weight.

    Attributes:
        weight: The weight as the file lists it.
        name: Its name without the prefixes of wrappers.
        role: Its role, stored with the group or guessed.
        measures: Its norms.
        settings: The settings of its optimizer, or None if they are unknown.
    """

    weight: StoredWeight
    name: str
    role: str
    measures: Measures
    settings: LayerSettings | None

    @cached_property
    def predicted_norm(self) -> float:
        """‖θ‖_F at the steady state, or NaN without a prediction."""
        return math.nan if self.settings is None else self.settings.predicted_norm(self.weight.shape)

    @property
    def predicted_rms(self) -> float:
        return self.predicted_norm / math.sqrt(self.weight.size)

    @property
    def ratio(self) -> float:
        """The measured norm divided by the predicted one, or NaN if either is unknown."""
        return self.measures.norm / self.predicted_norm

    @property
    def is_predicted(self) -> bool:
        return not math.isnan(self.predicted_norm)

    def is_far(self, tolerance: float) -> bool:
        """Return whether the ratio is outside 1 ± tolerance, or the weight is not finite."""
        return abs(self.ratio - 1) > tolerance or self.measures.non_finite > 0


def sorted_layers(layers: Iterable[Layer], by: Sort) -> list[Layer]:
    """Sort layers: by default the largest first, by "ratio" the farthest from 1 first, by "name" in natural order.

    Layers without the value come last. Weights that are not finite come first in every order except by name.

    Raises:
        ValueError: The order is unknown.
    """
    if by not in get_args(Sort):
        raise ValueError(f"sort is {by!r}; it must be one of {', '.join(get_args(Sort))}")
    if by == "name":
        return sorted(layers, key=lambda layer: natural_order(short_name(layer.name)))
    value: dict[str, Callable[[Layer], Any]] = {
        "ratio": lambda layer: abs(math.log(layer.ratio)) if layer.ratio > 0 else _missing_or_far(layer.ratio),
        "rms": lambda layer: layer.measures.rms,
        "norm": lambda layer: layer.measures.norm,
        "spectral": lambda layer: max(layer.measures.spectral, default=math.nan),
        "size": lambda layer: layer.weight.size,
    }
    key = value[by]
    return sorted(layers, key=lambda layer: (layer.measures.non_finite == 0, *_descending(key(layer))))


def _missing_or_far(ratio: float) -> float:
    return math.inf if ratio == 0 else math.nan


def _descending(value: float) -> tuple[bool, float]:
    return (True, 0.0) if math.isnan(value) else (False, -value)
