"""Detect updates whose size differs from what theory assumes."""

import math
from collections.abc import Mapping

from steadydecay.report.advice.finding import Finding

# The range of measured ÷ assumed size within which updates count as of the assumed size.
LEGAL_UPDATE_RATIO = (0.8, 1.25)


def update_size(ratios: Mapping[str, float]) -> Finding | None:
    """Detect updates of another size than theory assumes, and so another steady norm.

    Args:
        ratios: The measured divided by the assumed norm of the update, by layer or role. NaN is ignored.
    """
    low, high = LEGAL_UPDATE_RATIO
    off = {name: ratio for name, ratio in ratios.items() if ratio > 0 and not low <= ratio <= high and ratio < math.inf}
    if not off:
        return None
    worst = max(off, key=lambda name: abs(math.log(off[name])))
    others = "" if len(off) == 1 else f" The ratio is outside {low:g} to {high:g} in {len(off)} of {len(ratios)}."
    return Finding(
        "Updates do not have the size that theory assumes",
        f"In {worst}, updates are {off[worst]:.2f} times as large as assumed.{others} The steady norm scales with it.",
        "The dotted lines in the pictures account for the measured size. If you set steady_norm_sq, divide it by "
        f"{off[worst] ** 2:.2g} for this layer.",
        is_of_layers=True,
    )
