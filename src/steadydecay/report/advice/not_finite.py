"""A NaN or an infinity that a layer has taken in."""

from collections.abc import Mapping
from typing import Any

from steadydecay.report.advice.finding import Finding


def not_finite(fault: Mapping[str, Any]) -> Finding | None:
    """The first layer and step that the monitor found not finite.

    Args:
        fault: "step" of the log, "layer", "measure" and the number of "layers" at that step; empty without one.

    >>> not_finite({"step": 1200, "layer": "h.3.up", "measure": "momentum_norm", "layers": 1}).title
    'Layer h.3.up is not finite from step 1,200 on'
    >>> not_finite({}) is None
    True
    """
    if not fault:
        return None
    layer, step = fault.get("layer", "of no name"), float(fault["step"])
    return Finding(
        f"Layer {layer} is not finite from step {step:,.0f} on",
        f"In the monitor's record of step {step:,.0f}, the first such record, the {fault.get('measure', 'norm')} of "
        f"{layer} is NaN or infinite. Layers with such a number there: {fault.get('layers', 1)}. The cause lies "
        f"between this record and the one before it.",
        "Go back to the checkpoint before that step and look at its batch and the learning rate. "
        "sd.skip_nonfinite(optimizer) leaves such gradients out and counts them; docs/optimizers.md says what one of "
        "them does to each optimizer.",
    )
