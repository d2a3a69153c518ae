"""What a layer's numbers say in a word."""

from typing import Literal

Verdict = Literal["rising", "steady", "falling", "not yet there", "no decay", "not finite"]

# Relative change of the norm in one time constant, and distance from the prediction, that count as none.
TOLERANCE = 0.05
# What a start has left after two time constants is 13 % of the squared norm.
SETTLING_TIME = 2.0


def verdict_of(has_decay: bool, time_constants: float, drift: float, ratio: float | None) -> Verdict:
    """The verdict on a layer's weight norm, of a layer whose weights and momentum are finite.

    - "no decay": no decay has acted on the layer, or none that is known: its norm has no steady state.
    - "not yet there": fewer than `SETTLING_TIME` time constants have passed, the norm is more than `TOLERANCE` away
      from its prediction, and it is not moving away from it.
    - "rising", "falling": the norm changes by more than `TOLERANCE` in a time constant.
    - "steady": all else.

    Args:
        has_decay: whether a known weight decay acts on the layer.
        time_constants: Σ 2η over the steps that have moved it, ≥ 0.
        drift: relative change of ‖θ‖ in one time constant.
        ratio: ‖θ‖ ÷ predicted, None where nothing is predicted.

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
