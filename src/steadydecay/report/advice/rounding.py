"""Detect decay that is lost in the number format of the weights."""

from steadydecay.report.advice.finding import Finding

SIGNIFICANT_BITS = {"bfloat16": 8, "float16": 11}


def rounded_away(role: str, weight_dtype: str | None, is_compensated: bool | None, peak_decay: float) -> Finding | None:
    """Detect a decay that is too small for the number format of the weights, so that (1-η)θ rounds back to θ.

    For weights with p significant bits, half a unit in the last place is between 2^-(p+1) and 2^-p of the weight.

    Args:
        role: The role of the layers.
        weight_dtype: "float32", "bfloat16" or "float16", or None if the log does not say.
        is_compensated: Whether rounding is compensated or stochastic, or None if the log does not say.
        peak_decay: The largest η of the run.
    """
    if peak_decay == 0 or is_compensated or (weight_dtype is not None and weight_dtype not in SIGNIFICANT_BITS):
        return None
    bits = SIGNIFICANT_BITS[weight_dtype or "bfloat16"]
    lost = min(1.0, 2.0**-bits / peak_decay - 1)
    if lost <= 0:
        return None
    evidence = (
        f"Their largest decay per step is η = {peak_decay:.2g}. In {weight_dtype or 'bfloat16'}, half a unit in the "
        f"last place is {2.0 ** -(bits + 1):.2g} to {2.0**-bits:.2g} of a weight, and a smaller change rounds back to "
        f"the same weight. {lost:.0%} or more of the weights therefore do not decay at all."
    )
    remedy = 'Keep weights in float32, or use low_precision="compensated" (the default of Scion, AdamC, Lion and SGDW).'
    if weight_dtype is None:
        return Finding(
            f"The log does not say whether the {role} weights are kept in bfloat16; if so, their decay may be lost",
            evidence,
            f"Nothing, if the weights are in float32 (autocast keeps them so). Otherwise: {remedy}",
        )
    doubt = "" if is_compensated is False else " The log does not say whether rounding was compensated."
    return Finding(f"The decay of the {role} weights rounds away in {weight_dtype}", evidence + doubt, remedy)
