"""Check whether gradients grow at the end because weights shrink."""

import math

from steadydecay.report.advice.finding import HOW_TO_CORRECT, Finding

# Gradient norms of identical runs differ by a few percent from batch to batch.
NOTABLE_CHANGE = 0.05


def gradient_rise(gradient_mid: float, gradient_end: float, norm_mid: float, norm_end: float) -> Finding | None:
    """Check whether ‖g‖ grows at the end because ‖θ‖ falls. If only directions matter, ‖g‖ · ‖θ‖ stays constant.

    Args:
        gradient_mid, gradient_end: The mean ‖g‖ around the middle of the run and at its end.
        norm_mid, norm_end: The mean ‖θ‖ at the same places.
    """
    numbers = (gradient_mid, gradient_end, norm_mid, norm_end)
    if not all(0 < number < math.inf for number in numbers):
        return None
    rise, fall = gradient_end / gradient_mid, norm_end / norm_mid
    explained = 1 / fall
    if fall > 1 - NOTABLE_CHANGE:
        return _rise_without_fall(rise, fall) if rise > 1 + NOTABLE_CHANGE else None
    evidence = (
        f"From the middle of the run to its end, the weight norm falls from {norm_mid:.4g} to {norm_end:.4g} "
        f"({fall - 1:+.0%}). If only the directions of the weights matter, this alone multiplies the gradient norm by "
        f"{explained:.2f}. It went from {gradient_mid:.3g} to {gradient_end:.3g}, a factor of {rise:.2f}. The product "
        f"‖g‖·‖θ‖, in which the size of the weights cancels, changed by a factor of {rise * fall:.2f}."
    )
    remedy = f"To let the decay follow the square of the learning rate, {HOW_TO_CORRECT}."
    if rise <= 1 + NOTABLE_CHANGE:
        return Finding("The weight norm falls at the end and keeps the gradient norm from falling", evidence, remedy)
    if rise * fall <= 1 + 2 * NOTABLE_CHANGE:
        return Finding("The gradient norm rises at the end because the weight norm falls", evidence, remedy)
    return Finding("The gradient norm rises at the end by more than the falling weight norm explains", evidence, remedy)


def _rise_without_fall(rise: float, fall: float) -> Finding:
    return Finding(
        "The gradient norm rises at the end, but not because of the weight norm",
        f"From the middle of the run to its end, the gradient norm changes by a factor of {rise:.2f} and the weight "
        "norm "
        f"by a factor of {fall:.2f}.",
        "Correcting the decay will not change this. Check the order of the data, the loss scale and the batch size.",
    )
