"""Which parameter groups are corrected, and which of them should be."""

import math
from collections.abc import Sequence

from steadydecay.report.advice.finding import APPENDIX_D, HOW_TO_CORRECT, Finding

# The exponent p of η ∝ γ^p is 1 under constant λ and 2 under the correction.
EXPONENT_TOLERANCE = 0.3
# If the learning rate falls less than this, the two rules can hardly be told apart, and the difference hardly matters.
SMALLEST_LR_FALL = 2.0
CORRECTED_ROLES = ("hidden", "conv", "embedding", "vector", "router")


def decay_exponent(lrs: Sequence[float], decays: Sequence[float]) -> float:
    """Fit p of η ∝ γ^p by least squares in logarithms: 1 under a constant λ, 2 under the correction.

    The result is NaN if the learning rate varies by less than a factor of 2, or if there is no decay.

    >>> round(decay_exponent([4.0, 2.0, 1.0], [0.16, 0.04, 0.01]), 6)
    2.0
    """
    pairs = [(math.log(lr), math.log(decay)) for lr, decay in zip(lrs, decays, strict=True) if lr > 0 and decay > 0]
    if len(pairs) < 2 or max(pairs)[0] - min(pairs)[0] < math.log(SMALLEST_LR_FALL):
        return math.nan
    x_mean = sum(x for x, _ in pairs) / len(pairs)
    y_mean = sum(y for _, y in pairs) / len(pairs)
    return sum((x - x_mean) * (y - y_mean) for x, y in pairs) / sum((x - x_mean) ** 2 for x, _ in pairs)


def is_corrected(exponent: float) -> bool:
    """Return whether η ∝ γ² as far as the schedules show. The result is False for NaN."""
    return abs(exponent - 2) < EXPONENT_TOLERANCE


def correction_of(
    role: str, exponent: float, output_cosine: float = math.nan, norm_kept: float = math.nan
) -> Finding | None:
    """Check whether the decay of a role follows the learning rate as it should.

    Args:
        role: "hidden", "output", "embedding", "vector", "conv" or "router". Other roles give None.
        exponent: The `decay_exponent` of the run, or NaN.
        output_cosine: The mean cosine of update and weights of the output layer, or NaN.
        norm_kept: The norm at the end divided by the largest norm in the second half of the run, or NaN.
    """
    is_constant = abs(exponent - 1) < EXPONENT_TOLERANCE
    law = f"The logged decay per step is proportional to the learning rate to the power {exponent:.2f}"
    if role == "output":
        return _correction_of_output(law, is_constant, is_corrected(exponent), output_cosine)
    if role not in CORRECTED_ROLES or not is_constant:
        return None
    kept = (
        f" The norm itself ended at {norm_kept:.0%} of its largest value in the second half of the run."
        if math.isfinite(norm_kept)
        else ""
    )
    return Finding(
        f"The decay of the {role} layers is not corrected",
        f"{law} (constant weight_decay gives 1, the correction 2), so the steady norm falls with the schedule.{kept}",
        f"To correct it, {HOW_TO_CORRECT}.",
    )


def _correction_of_output(law: str, is_constant: bool, is_wrong: bool, cosine: float) -> Finding | None:
    known = math.isfinite(cosine)
    measured = (
        f" The mean cosine of its update and weights is {cosine:+.3f}; below 0, updates make the weights grow."
        if known
        else ""
    )
    if is_wrong:
        return Finding(
            "The decay of the output layer is corrected but should be constant",
            f"{law} (constant weight_decay gives 1, the correction 2).{measured}",
            f'Set decay="constant" for the group of the output layer ({APPENDIX_D}).',
        )
    if is_constant:
        return Finding(
            "The output layer keeps its constant weight decay, as it should",
            f"{law}.{measured}",
            f"Nothing. Its updates keep enlarging it, so the reason for the correction does not apply ({APPENDIX_D}).",
            is_fine=True,
        )
    return None
