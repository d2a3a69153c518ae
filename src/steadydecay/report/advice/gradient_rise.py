"""Whether gradients grow at the end because weights shrink."""

import math

from steadydecay.report.advice.finding import HOW_TO_CORRECT, Finding

# Gradient norms of equal runs differ by some percent from batch to batch.
NOTABLE_CHANGE = 0.05


def gradient_rise(gradient_mid: float, gradient_end: float, norm_mid: float, norm_end: float) -> Finding | None:
    """Whether ‖g‖ grows at the end because ‖θ‖ falls: where only directions matter, ‖g‖ · ‖θ‖ stays.

    Args:
        gradient_mid, gradient_end: mean ‖g‖ around the middle of the run and at its end.
        norm_mid, norm_end: mean ‖θ‖ there.
    """
    numbers = (gradient_mid, gradient_end, norm_mid, norm_end)
    if not all(0 < number < math.inf for number in numbers):
        return None
    rise, fall = gradient_end / gradient_mid, norm_end / norm_mid
    explained = 1 / fall
    if fall > 1 - NOTABLE_CHANGE:
        return _rise_without_fall(rise, fall) if rise > 1 + NOTABLE_CHANGE else None
    evidence = (
        f"From the middle of the run to its end the weight norm falls from {norm_mid:.4g} to {norm_end:.4g} "
        f"({fall - 1:+.0%}). Where only the directions of weights matter, that alone multiplies the gradient norm by "
        f"{explained:.2f}; it went from {gradient_mid:.3g} to {gradient_end:.3g}, times {rise:.2f}. ‖g‖·‖θ‖, in which "
        f"the size of the weights cancels, changed by the factor {rise * fall:.2f}."
    )
    remedy = f"Let the decay follow the square of the learning rate: {HOW_TO_CORRECT}."
    if rise <= 1 + NOTABLE_CHANGE:
        return Finding("The weight norm falls at the end, and holds the gradient norm up", evidence, remedy)
    if rise * fall <= 1 + 2 * NOTABLE_CHANGE:
        return Finding("The gradient norm rises at the end because the weight norm falls", evidence, remedy)
    return Finding("The gradient norm rises at the end by more than the falling weight norm explains", evidence, remedy)


def _rise_without_fall(rise: float, fall: float) -> Finding:
    return Finding(
        "The gradient norm rises at the end, and not because of the weight norm",
        f"From the middle of the run to its end the gradient norm changes by the factor {rise:.2f}, the weight norm by "
        f"{fall:.2f}.",
        "Correcting the decay will not change this. Look at the data order, the loss scale and the batch size.",
    )
