"""Report a NaN or an infinity that has entered a layer."""

from collections.abc import Mapping
from typing import Any

from steadydecay.report.advice.finding import Finding


def not_finite(fault: Mapping[str, Any]) -> Finding | None:
    """Report the first layer and step that the monitor found not finite.

    Args:
        fault: The "step" of the log, the "layer", the "measure" and the number of "layers" at that step. It is empty if
            everything is finite.

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
        f"The monitor's record of step {step:,.0f} is the first in which the {fault.get('measure', 'norm')} of "
        f"{layer} is NaN or infinite. The number of layers with such a value there is {fault.get('layers', 1)}. The "
        f"cause lies between this record and the one before it.",
        "Go back to the checkpoint before that step, and look at its batch and the learning rate. "
        "sd.skip_nonfinite(optimizer) leaves such gradients out and counts them. docs/optimizers.md describes what "
        "such a gradient does to each optimizer.",
    )
