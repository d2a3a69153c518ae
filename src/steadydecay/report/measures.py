"""The measures that the panels show, with the words of the page: the paper's Fig. 4 and what explains it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np

from steadydecay.report.runs import Run
from steadydecay.report.series import EMPTY, Series


@final
@dataclass(frozen=True)
class Measure:
    """How to make the panel of one measure.

    Attributes:
        key: A short name, unique on the page.
        title: The title, with the unit.
        axis: A short form of the title for the y-axis of a picture that stands alone.
        explanation: What it is and what to expect, for readers without prior knowledge.
        read: Returns the measure of a run, empty if it was not logged.
        predict: Returns what theory predicts.
        is_noisy: Whether it is smoothed, with every step faintly behind it.
        is_log: Whether the y-axis is logarithmic.
        from_zero: Whether the y-axis begins at 0.
        zero_line: Whether the sign matters.
        instead_of: It is shown only if the measure with this key is missing.
        is_of_some: Whether only some kinds of models have it, so that others do not lack it.
    """

    key: str
    title: str
    axis: str
    explanation: str
    read: Callable[[Run], Series]
    predict: Callable[[Run], Series] | None = None
    is_noisy: bool = False
    is_log: bool = False
    from_zero: bool = False
    zero_line: bool = False
    instead_of: str = ""
    is_of_some: bool = False


def steady_norm(run: Run) -> Series:
    """Predict with the measured size of the updates if the monitor logged it, and otherwise with theory's."""
    measured = run.of_group("predicted_norm_measured", run.main_role)
    return measured if len(measured) else run.of_role("predicted_norm", run.main_role)


def expected_cosine(run: Run, role: str) -> Series:
    """Return the cosine of weights and update that momentum alone causes, if gradients are independent of the weights.

    At a steady norm P, Eq. 1 of arXiv 2512.08217 gives 2(1-η)⟨θ,γu⟩ = ‖γu‖² - η(2-η)P². The product ⟨θ,γu⟩ forgets
    within the memory of the momentum, much faster than ‖θ‖, so it belongs to the current lr while ‖θ‖ is as measured.
    """
    names = ("update_norm", "predicted_norm_measured", "weight_norm", "decay")
    measured = [run.of_group(name, role) for name in names]
    if len({len(series) for series in measured}) > 1 or not len(measured[0]):
        return EMPTY
    update, steady, norm, decay = (series.values for series in measured)
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine = (update**2 - decay * (2 - decay) * steady**2) / (2 * (1 - decay) * update * norm)
    return Series(measured[0].steps, cosine)


LOSS = Measure(
    "loss",
    "Training loss (nats, smoothed)",
    "loss (nats)",
    """How badly the model predicts its training data. Lower is better. Every step appears faintly behind the line.""",
    lambda run: run.loss,
    is_noisy=True,
)
VALIDATION_LOSS = Measure(
    "validation",
    "Validation loss (nats)",
    "validation loss (nats)",
    """The same loss on data kept out of training, which tells which run is better. Lower is better.""",
    lambda run: run.validation_loss,
)
ACCURACY = Measure(
    "accuracy",
    "Accuracy on validation data (share)",
    "accuracy",
    """The share of validation images that the model classifies correctly. Higher is better.""",
    lambda run: run.accuracy,
    is_of_some=True,
)
WEIGHT_NORM = Measure(
    "weight-norm",
    "Weight norm ‖θ‖ of the hidden layers",
    "weight norm ‖θ‖",
    """The size of the weights of all hidden layers together. The dotted line shows where it would settle if the
    learning rate and decay stayed as they are at that step. In a steady run the line is flat and close to the dotted
    one. A line that falls towards the end is the fault that the correction removes.""",
    lambda run: run.of_role("weight_norm", run.main_role),
    predict=steady_norm,
    from_zero=True,
)
GRADIENT_NORM = Measure(
    "gradient-norm",
    "Gradient norm ‖g‖ of the hidden layers (smoothed)",
    "gradient norm ‖g‖",
    """How steeply the loss changes with the weights. Smaller weights have larger gradients in the same network, so a
    rise at the end beside a falling weight norm comes from the shrinking weights, not from the data.""",
    lambda run: run.of_role("gradient_norm", run.main_role),
    is_noisy=True,
    is_log=True,
)
SPECTRAL_NORM = Measure(
    "spectral",
    "Spectral norm of the hidden matrices (geometric mean)",
    "spectral norm",
    """The most that a layer can stretch its input, averaged over layers. It should settle as the weight norm does.""",
    lambda run: run.of_group("spectral_geometric_mean", run.main_role),
    from_zero=True,
)
SIGN_NORM = Measure(
    "sign",
    "Sign norm of the output layer",
    "Sign norm",
    """The largest weight of the layer that makes the predictions, times its input width. The library keeps the decay
    of this layer constant in every run, so these lines should hardly differ between runs with and without the
    correction.""",
    lambda run: run.of_group("sign_norm", "output"),
    from_zero=True,
)
EFFECTIVE_LR = Measure(
    "effective-lr",
    "Effective learning rate γ_eff of the hidden layers",
    "effective learning rate γ_eff",
    """How far one minibatch moves the weights in total, including momentum. This is the schedule of the run.""",
    lambda run: run.of_group("effective_lr", run.main_role),
    from_zero=True,
)
LR = Measure(
    "lr",
    "Learning rate γ of the hidden layers",
    "learning rate γ",
    """How far one step moves the weights. This is the schedule of the run.""",
    lambda run: run.of_role("lr", run.main_role),
    from_zero=True,
    instead_of="effective-lr",
)
DECAY = Measure(
    "decay",
    "Decay per step η of the hidden layers",
    "decay per step η",
    """The share of the weights that each step removes. It is proportional to the learning rate without the correction,
    and to its square with the correction, so the corrected line bends down earlier.""",
    lambda run: run.of_role("decay", run.main_role),
    from_zero=True,
)
ROTATION = Measure(
    "rotation",
    "Rotation of the hidden weights per step (radians)",
    "rotation (radians per step)",
    """The angle by which a step rotates the weights, which is the effective learning rate where only directions
    matter. At the same learning rate, smaller weights rotate faster.""",
    lambda run: run.of_group("rotation", run.main_role),
    from_zero=True,
)
ALIGNMENT = Measure(
    "alignment",
    "Cosine of update and weights, hidden layers",
    "cosine",
    """The direction of the steps: below 0 an update makes the weights longer, above 0 shorter. The dotted
    line shows how negative momentum alone makes it. On that line, new gradients are independent of the weights, as the
    theory assumes.""",
    lambda run: run.of_group("update_cosine", run.main_role),
    predict=lambda run: expected_cosine(run, run.main_role),
    zero_line=True,
)
OUTPUT_ALIGNMENT = Measure(
    "output-alignment",
    "Cosine of update and weights, output layer",
    "cosine",
    """If the line stays far below the dotted one, learning itself keeps making this layer larger, and the theory does
    not apply. That is why its decay should stay constant instead of being corrected (arXiv 2512.08217, Appendix D).""",
    lambda run: run.of_group("update_cosine", "output"),
    predict=lambda run: expected_cosine(run, "output"),
    zero_line=True,
)
MEASURES = (LOSS, VALIDATION_LOSS, ACCURACY, WEIGHT_NORM, GRADIENT_NORM, SPECTRAL_NORM, SIGN_NORM, EFFECTIVE_LR)
MEASURES += (LR, DECAY, ROTATION, ALIGNMENT, OUTPUT_ALIGNMENT)
