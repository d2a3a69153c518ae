"""Summarise the numbers of a layer in a word."""

from typing import Literal

Verdict = Literal["rising", "steady", "falling", "not yet there", "no decay", "not finite"]

# The relative change of the norm in one time constant, and the relative distance from the prediction, that are ignored.
TOLERANCE = 0.05
# After two time constants 13 % of the initial squared norm are left.
SETTLING_TIME = 2.0


def verdict_of(has_decay: bool, time_constants: float, drift: float, ratio: float | None) -> Verdict:
    """Return the verdict on the weight norm of a layer whose weights and momentum are finite.

    - "no decay": no known decay has acted on the layer, so its norm has no known steady state.
    - "not yet there": fewer than `SETTLING_TIME` time constants have passed, the norm is more than `TOLERANCE` away
      from its prediction, and it is not moving away from it.
    - "rising", "falling": the norm changes by more than `TOLERANCE` in a time constant.
    - "steady": everything else.

    Args:
        has_decay: Whether a known weight decay acts on the layer.
        time_constants: Σ 2η ≥ 0 over the steps that have moved it.
        drift: The relative change of ‖θ‖ in one time constant.
        ratio: ‖θ‖ divided by the predicted norm, or None if nothing is predicted.

    >>> verdict_of(True, 0.5, 0.8, 0.6), verdict_of(True, 0.5, -0.8, 0.6), verdict_of(True, 3.0, 0.01, 0.6)
    ('not yet there', 'falling', 'steady')
    """
    if not has_decay:
        return "no decay"
    if time_constants < SETTLING_TIME and ratio is not None and abs(ratio - 1) > TOLERANCE:
        is_moving_away = drift < -TOLERANCE if ratio < 1 else drift > TOLERANCE
        if not is_moving_away:
            return "not yet there"
    if abs(drift) <= TOLERANCE:
        return "steady"
    return "rising" if drift > 0 else "falling"
