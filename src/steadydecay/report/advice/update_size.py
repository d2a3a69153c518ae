"""Updates of another size than theory assumes."""

import math
from collections.abc import Mapping

from steadydecay.report.advice.finding import Finding

# Measured ÷ assumed size of updates that is still "as theory assumes".
LEGAL_UPDATE_RATIO = (0.8, 1.25)


def update_size(ratios: Mapping[str, float]) -> Finding | None:
    """Updates of another size than theory assumes, and so another steady norm.

    Args:
        ratios: measured ÷ assumed norm of the update, by layer or role; NaN is left out.
    """
    low, high = LEGAL_UPDATE_RATIO
    off = {name: ratio for name, ratio in ratios.items() if ratio > 0 and not low <= ratio <= high and ratio < math.inf}
    if not off:
        return None
    worst = max(off, key=lambda name: abs(math.log(off[name])))
    others = "" if len(off) == 1 else f", and outside {low:g} to {high:g} in {len(off)} of {len(ratios)} in all"
    return Finding(
        "Updates are not of the size that theory assumes",
        f"Measured ÷ assumed size of the update is {off[worst]:.2f} in {worst}{others}. A steady norm scales with it.",
        "The dotted lines of the pictures have the measured size in them. Who sets steady_norm_sq divides it by "
        f"{off[worst] ** 2:.2g} for this layer.",
        is_of_layers=True,
    )
