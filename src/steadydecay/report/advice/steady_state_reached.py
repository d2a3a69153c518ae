"""Find layers that are not at their steady state, and say what would get them there."""

import math
from collections.abc import Mapping, Sequence

from steadydecay.monitor.verdict import SETTLING_TIME
from steadydecay.report.advice.finding import Finding
from steadydecay.theory import decay_for_norm, steady_norm_sq, time_constant

CORRECTED_REMEDY = (
    "Their decay is corrected, so these changes have other causes: a start that is not forgotten yet, or updates that "
    "change in size or direction. If only a few layers change a little, do nothing; otherwise train longer or "
    "increase the decay."
)
UNCORRECTED_REMEDY = (
    "If norms are falling, correct the decay. If they are rising or not yet there, train longer or increase the decay."
)


def time_constants(steps: Sequence[float], decays: Sequence[float]) -> float:
    """Return how many time constants of the squared norm a run lasted: 2 Σ -ln(1-η).

    Missing steps count like the next logged one.

    Args:
        steps: The logged steps, increasing.
        decays: η of each step, in [0, 1).

    >>> round(time_constants(range(1, 101), [0.01] * 100), 2)
    2.01
    """
    lengths = [step - before for step, before in zip(steps, [0, *steps], strict=False)]
    return sum(length / time_constant(decay) for length, decay in zip(lengths, decays, strict=True))


def never_steady(
    role: str, steps: int, lasted: float, peak_lr: float, peak_decay: float, norm: float, peak_steady_norm: float
) -> Finding | None:
    """Report a run that was too short for its decay.

    Args:
        role: The role of the layers.
        steps: The number of steps of the run.
        lasted: The `time_constants` of the run.
        peak_lr: The effective learning rate at the peak. Only its ratio to the norm matters.
        peak_decay: η at the peak.
        norm: ‖θ‖ at the end.
        peak_steady_norm: The predicted ‖θ‖ for the peak, or NaN or infinity if it is unknown.
    """
    if not 0 < lasted < SETTLING_TIME:
        return None
    factor = SETTLING_TIME / lasted
    wanted = min(0.99, factor * peak_decay)
    remedy = (
        f"Train {factor:.2g} times as long ({_count(factor * steps)} steps at this decay), or multiply the weight "
        f"decay by {factor:.2g}, to η = {wanted:.2g} per step at the peak, with which a run of this length gets there"
    )
    if math.isfinite(peak_steady_norm) and 0 < norm < math.inf:
        remedy += _norms_of_decays(peak_lr, peak_decay, wanted, norm, peak_steady_norm)
    return Finding(
        f"The {role} layers never reached their steady state",
        f"At η = {peak_decay:.2g} per step or less, {_count(steps)} steps are {lasted:.2f} time constants of the "
        f"squared norm, whereas reaching a steady state takes about {SETTLING_TIME:g}. At the end, "
        f"{math.exp(-lasted):.0%} of the initial squared norm was still in the weights.",
        remedy + ".",
    )


def unsteady_layers(verdicts: Mapping[str, str], is_corrected: bool) -> Finding | None:
    """Report layers that are still rising, falling or not yet there in the monitor's last record.

    Args:
        verdicts: The monitor's verdict on each layer.
        is_corrected: Whether the decay of the hidden layers is corrected, so that a falling norm has another cause.
    """
    judged = {name: verdict for name, verdict in verdicts.items() if verdict != "no decay"}
    unsteady = {name: verdict for name, verdict in judged.items() if verdict != "steady"}
    if not unsteady:
        return None
    words = dict.fromkeys(unsteady.values())
    kinds = ", ".join(f"{sum(verdict == word for verdict in unsteady.values())} {word}" for word in words)
    first = ", ".join(list(unsteady)[:3])
    return Finding(
        "Not every layer is steady in the last record",
        f"{len(unsteady)} of {len(judged)} layers are not steady: {kinds}. The first are {first}.",
        f"The table of verdicts lists them all. {CORRECTED_REMEDY if is_corrected else UNCORRECTED_REMEDY}",
        is_of_layers=True,
    )


def _norms_of_decays(lr: float, decay: float, wanted: float, norm: float, steady_norm: float) -> str:
    """Say which norms go with which decay. In the ratio of two steady norms, the size of an update cancels."""
    present = steady_norm_sq(lr, decay)
    then = steady_norm * math.sqrt(steady_norm_sq(lr, wanted) / present)
    text = f", with a steady norm of about {then:.3g} at the peak instead of {steady_norm:.3g}"
    target = present * (norm / steady_norm) ** 2
    if target <= lr**2:
        return text
    held = decay_for_norm(target, lr)
    return f"{text}. η = {held:.2g} would hold the norm that this run ended with ({norm:.3g})"


def _count(steps: float) -> str:
    """Format an estimate with two digits, or as a whole number if it is small.

    >>> _count(123456.0), _count(600)
    ('120,000', '600')
    """
    digits = max(0, len(str(int(steps))) - 2)
    return f"{int(steps) if digits < 2 else round(steps, -digits):,.0f}"
