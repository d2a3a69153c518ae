"""What readers need to know about the numbers of an inspection, in sentences."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from steadydecay.inspection.inspected import Inspection
from steadydecay.inspection.stored_weight import StoredWeight

# After this many memories, a norm that started elsewhere is within 5 % (of its square) of the steady state.
SETTLED_MEMORIES = 3
MOST_TIED_NAMES = 3
MOST_BUFFERS = 8


def notes_on(inspection: Inspection, tolerance: float) -> list[str]:
    """Return sentences, the most important first.

    Args:
        inspection: The inspection of a checkpoint.
        tolerance: The share by which a norm may differ from its prediction.
    """
    return [
        *_on_the_result(inspection, tolerance),
        *inspection.problems,
        *_on_missing_predictions(inspection),
        *_on_the_steady_state(inspection),
        *_on_the_weights(inspection),
    ]


def _on_the_result(inspection: Inspection, tolerance: float) -> Iterator[str]:
    broken = [layer for layer in inspection.layers if layer.measures.non_finite]
    for layer in broken[:MOST_TIED_NAMES]:
        counts = f"{layer.measures.non_finite:,} of {layer.weight.size:,} entries"
        yield f"{layer.name} is not finite: {counts} are infinite or NaN."
    if len(broken) > MOST_TIED_NAMES:
        yield f"{len(broken) - MOST_TIED_NAMES} more weights are not finite."
    predicted = [layer for layer in inspection.layers if layer.is_predicted]
    far = sum(layer.is_far(tolerance) for layer in predicted)
    if predicted:
        yield f"{far} of {len(predicted)} weights with a prediction differ from it by more than {tolerance:.0%}."


def _on_missing_predictions(inspection: Inspection) -> Iterator[str]:
    if not any(layer.settings for layer in inspection.layers):
        stored = (
            "The state of an optimizer is stored with these weights, but neither names nor shapes reveal which of its "
            "groups moves which weight."
        )
        if 0 < inspection.moved < len(inspection.layers):
            stored += (
                f" It moves {inspection.moved:,} of {len(inspection.layers):,} weights. Copies, such as those of an "
                "EMA or a "
                "teacher, have the same shapes as their originals."
            )
        yield (
            f"{stored if inspection.has_state else 'No hyperparameters are stored with these weights.'} For "
            "predictions, give --lr (the peak) and --weight-decay or --decay, and --optimizer with its momentum if "
            "it is "
            "not AdamW."
        )
    elif unmoved := inspection.has_state and sum(layer.settings is None for layer in inspection.layers):
        yield (
            f"No group of the stored state is known to move {unmoved:,} of {len(inspection.layers):,} weights. They "
            "may be "
            "frozen, or copies (of an EMA or a teacher), which have the same shapes as their originals."
        )


def _on_the_steady_state(inspection: Inspection) -> Iterator[str]:
    predicted = [layer for layer in inspection.layers if layer.is_predicted]
    settings = [layer.settings for layer in predicted if layer.settings is not None]
    longest = max((one.memory for one in settings), default=0.0)
    if inspection.steps is not None and inspection.steps < SETTLED_MEMORIES * longest:
        yield (
            f"After {inspection.steps:,} steps, norms with a memory of {longest:,.0f} steps are still on their way "
            "from their initial values to the steady state."
        )
    falling = {one.title: one.lr_in_file for one in settings if one.falls_with_lr}
    if falling:
        remedy = " (use --at now to predict for the lr in the file)" if any(falling.values()) else ""
        yield (
            f"{', '.join(falling)}: Under a constant weight_decay the norm follows √lr, and the lr has fallen, so "
            "expect "
            f"the norm below the prediction{remedy}."
        )
    if any(layer.role == "output" for layer in predicted):
        yield (
            "Updates of an output layer never become independent of its weights (arXiv 2512.08217, Appendix D), so its "
            "norm may stay far from the prediction."
        )


def _on_the_weights(inspection: Inspection) -> Iterator[str]:
    if any(layer.settings is None or "role" not in layer.settings.group for layer in inspection.layers):
        yield "The roles are guessed from names and shapes."
    tied = [f"{name} is {layer.name}" for layer in inspection.layers for name in layer.weight.tied]
    if tied:
        more = f" and {len(tied) - MOST_TIED_NAMES} more" if len(tied) > MOST_TIED_NAMES else ""
        yield f"Tied weights are listed once: {', '.join(tied[:MOST_TIED_NAMES])}{more}."
    if inspection.buffers:
        yield (f"Buffers and caches are not weights, as names or values show: {_counted(inspection.buffers)}.")
    if inspection.elsewhere:
        keys = ", ".join(map(repr, inspection.elsewhere[:MOST_TIED_NAMES]))
        more = (
            f" and {len(inspection.elsewhere) - MOST_TIED_NAMES} more" if inspection.elsewhere[MOST_TIED_NAMES:] else ""
        )
        yield f"The weights are elsewhere in the file, so the tensors under {keys}{more} were not looked at."
    if inspection.left_out:
        yield f"Tensors that are not weights (integers, empty ones) were left out: {inspection.left_out:,}."


def _counted(buffers: Sequence[StoredWeight]) -> str:
    """Return each name once for all layers, with the number of its tensors if there are several."""
    counts = Counter(re.sub(r"(?<![^.])\d+(?![^.])", "*", one.name) for one in buffers)
    shown = [f"{name} ({count})" if count > 1 else name for name, count in counts.items()]
    more = [f"and {len(shown) - MOST_BUFFERS} more names"] if len(shown) > MOST_BUFFERS else []
    return ", ".join([*shown[:MOST_BUFFERS], *more])
