"""Decay that the number format of the weights swallows."""

from steadydecay.report.advice.finding import Finding

SIGNIFICANT_BITS = {"bfloat16": 8, "float16": 11}


def rounded_away(role: str, weight_dtype: str | None, is_compensated: bool | None, peak_decay: float) -> Finding | None:
    """Decay too small for the number format of the weights: (1-η)θ rounds back to θ.

    Half a unit in the last place is between 2^-(p+1) and 2^-p of a weight with p significant bits.

    Args:
        role: which layers.
        weight_dtype: "float32", "bfloat16" or "float16"; None if the log does not say.
        is_compensated: rounding is compensated or stochastic; None if the log does not say.
        peak_decay: the largest η of the run.
    """
    if peak_decay == 0 or is_compensated or (weight_dtype is not None and weight_dtype not in SIGNIFICANT_BITS):
        return None
    bits = SIGNIFICANT_BITS[weight_dtype or "bfloat16"]
    lost = min(1.0, 2.0**-bits / peak_decay - 1)
    if lost <= 0:
        return None
    evidence = (
        f"Their largest decay per step is η = {peak_decay:.2g}. In {weight_dtype or 'bfloat16'} half a unit in the "
        f"last place is {2.0 ** -(bits + 1):.2g} to {2.0**-bits:.2g} of a weight, and a smaller change rounds back to "
        f"the same weight: {lost:.0%} or more of the weights do not decay at all."
    )
    remedy = 'Keep weights in float32, or use low_precision="compensated" (the default of Scion, AdamC, Lion and SGDW).'
    if weight_dtype is None:
        return Finding(
            f"If the {role} weights are kept in bfloat16, their decay may be lost: the log does not say",
            evidence,
            f"Nothing to do if weights are float32 (autocast keeps them so). Otherwise: {remedy}",
        )
    doubt = "" if is_compensated is False else " The log does not say whether rounding was compensated."
    return Finding(f"The decay of the {role} weights rounds away in {weight_dtype}", evidence + doubt, remedy)
