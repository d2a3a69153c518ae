"""Find the first number in a record that is NaN or infinite."""

import math
import warnings
from collections.abc import Mapping
from typing import Any

# They are in this order, because a gradient spoils a momentum, and the momentum spoils the weights.
TELLING = ("gradient_norm", "momentum_norm", "weight_norm")


def with_first_fault(record: Mapping[str, Any], before: Mapping[str, Any], step: int) -> dict[str, Any]:
    """Return the record with "not_finite" if a layer of it, or of an earlier record, is not finite. The first fault
    stays.

    "not_finite" is {"step": when it was measured, "layer": the first one in the optimizer, "measure": the first of
    `TELLING`, "layers": how many layers are not finite}.

    Args:
        record: The record of a measured step.
        before: The previous record.
        step: The measured step.

    >>> layers = {"a": {"weight_norm": 1.0}, "b": {"weight_norm": math.nan}}
    >>> with_first_fault({"layers": layers}, {}, 7)["not_finite"]
    {'step': 7, 'layer': 'b', 'measure': 'weight_norm', 'layers': 1}
    """
    known = before.get("not_finite")
    faults = {} if known else {name: _first_fault(measures) for name, measures in record["layers"].items()}
    found = [(name, measure) for name, measure in faults.items() if measure]
    if found:
        layer, measure = found[0]
        known = {"step": step, "layer": layer, "measure": measure, "layers": len(found)}
    return {**record, "not_finite": known} if known else dict(record)


def warn_of_first_fault(record: Mapping[str, Any], before: Mapping[str, Any], stacklevel: int) -> None:
    """Warn if a record has a fault that the previous one did not have."""
    fault = record.get("not_finite")
    if fault is None or "not_finite" in before:
        return
    warnings.warn(
        f"{fault['measure']} of {fault['layer']!r} is not finite at the measured step {fault['step']}, as in "
        f"{fault['layers']} layers in all. docs/optimizers.md explains what a NaN does to each optimizer. A fused step "
        f"that a GradScaler skips also has such gradients, but does no harm.",
        stacklevel=stacklevel,
    )


def is_spoilt(weight_sq: float, momentum_sq: float | None) -> bool:
    """Return whether a weight or its momentum holds a NaN or an infinity, which no later step removes."""
    return not (math.isfinite(weight_sq) and math.isfinite(momentum_sq or 0.0))


def _first_fault(measures: Mapping[str, float]) -> str:
    return next((name for name in TELLING if not math.isfinite(measures.get(name, 0.0))), "")
