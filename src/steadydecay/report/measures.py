"""What the panels show, in the words of the page: the paper's Fig. 4, and the measures that explain it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np

from steadydecay.report.runs import Run
from steadydecay.report.series import EMPTY, Series


@final
@dataclass(frozen=True)
class Measure:
    """How to make a panel of one measure.

    Attributes:
        key: short, unique on the page.
        title: with its unit.
        axis: the same in a word or a sign, for the y-axis of a picture that stands alone.
        explanation: for a reader who knows nothing: what it is and what to expect.
        read: the measure of a run, empty where it was not logged.
        predict: what theory says of it.
        is_noisy: smoothed, with every step faint behind it.
        is_log: of the y-axis.
        from_zero: the y-axis begins there.
        zero_line: the sign matters.
        instead_of: shown only where the measure with this key is missing.
        is_of_some: only some kinds of models have it, and the others do not lack it.
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
    """Predicted with the measured size of the updates where the monitor logged it, else as theory has it."""
    measured = run.of_group("predicted_norm_measured", run.main_role)
    return measured if len(measured) else run.of_role("predicted_norm", run.main_role)


def expected_cosine(run: Run, role: str) -> Series:
    """Cosine of weights and update that momentum alone makes, for gradients that do not know the weights.

    At a steady norm P, Eq. 1 of arXiv 2512.08217 says 2(1-η)⟨θ,γu⟩ = ‖γu‖² - η(2-η)P²; ⟨θ,γu⟩ forgets within the memory
    of the momentum, much faster than ‖θ‖, so it is that of the present lr while ‖θ‖ is what was measured.
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
    """How badly the model predicts the data it learns from. Lower is better. Faint behind each line: every step.""",
    lambda run: run.loss,
    is_noisy=True,
)
VALIDATION_LOSS = Measure(
    "validation",
    "Validation loss (nats)",
    "validation loss (nats)",
    """The same on data kept out of training: the number that says which run is better. Lower is better.""",
    lambda run: run.validation_loss,
)
ACCURACY = Measure(
    "accuracy",
    "Accuracy on validation data (share)",
    "accuracy",
    """The share of the images kept out of training whose class the model finds. Higher is better.""",
    lambda run: run.accuracy,
    is_of_some=True,
)
WEIGHT_NORM = Measure(
    "weight-norm",
    "Weight norm ‖θ‖ of the hidden layers",
    "weight norm ‖θ‖",
    """The size of the weights, all hidden layers together. Dotted: where it would settle if the learning rate and
    decay of that step stayed for ever. A steady run is a flat line near its dots. A line that sinks towards the end
    is the fault that the correction mends.""",
    lambda run: run.of_role("weight_norm", run.main_role),
    predict=steady_norm,
    from_zero=True,
)
GRADIENT_NORM = Measure(
    "gradient-norm",
    "Gradient norm ‖g‖ of the hidden layers (smoothed)",
    "gradient norm ‖g‖",
    """How steep the loss is in the weights. Smaller weights have larger gradients in the same network, so a rise at
    the end beside a falling weight norm comes from the shrinking and not from the data.""",
    lambda run: run.of_role("gradient_norm", run.main_role),
    is_noisy=True,
    is_log=True,
)
SPECTRAL_NORM = Measure(
    "spectral",
    "Spectral norm of the hidden matrices (geometric mean)",
    "spectral norm",
    """The most that a layer can stretch its input, averaged over layers. It should settle like the weight norm.""",
    lambda run: run.of_group("spectral_geometric_mean", run.main_role),
    from_zero=True,
)
SIGN_NORM = Measure(
    "sign",
    "Sign norm of the output layer",
    "Sign norm",
    """The largest weight of the layer that makes the predictions, times its input width. The library leaves the decay
    of this layer constant in every run, so these lines should hardly differ between runs with and without the
    correction.""",
    lambda run: run.of_group("sign_norm", "output"),
    from_zero=True,
)
EFFECTIVE_LR = Measure(
    "effective-lr",
    "Effective learning rate γ_eff of the hidden layers",
    "effective learning rate γ_eff",
    """How far one minibatch moves the weights in all, momentum counted in: the schedule that was asked for.""",
    lambda run: run.of_group("effective_lr", run.main_role),
    from_zero=True,
)
LR = Measure(
    "lr",
    "Learning rate γ of the hidden layers",
    "learning rate γ",
    """How far one step moves the weights: the schedule that was asked for.""",
    lambda run: run.of_role("lr", run.main_role),
    from_zero=True,
    instead_of="effective-lr",
)
DECAY = Measure(
    "decay",
    "Decay per step η of the hidden layers",
    "decay per step η",
    """The share of the weights that each step takes away. Without the correction it is proportional to the learning
    rate, with it to its square: the corrected line bends down earlier.""",
    lambda run: run.of_role("decay", run.main_role),
    from_zero=True,
)
ROTATION = Measure(
    "rotation",
    "Rotation of the hidden weights per step (radians)",
    "rotation (radians per step)",
    """The angle by which a step turns the weights: the learning rate that counts where only directions matter. At the
    same learning rate, smaller weights turn faster.""",
    lambda run: run.of_group("rotation", run.main_role),
    from_zero=True,
)
ALIGNMENT = Measure(
    "alignment",
    "Cosine of update and weights, hidden layers",
    "cosine",
    """Which way steps go: below 0 an update makes the weights longer, above 0 shorter. Momentum alone puts it below 0,
    by as much as the dots say. On the dots, new gradients do not know the weights, as theory assumes.""",
    lambda run: run.of_group("update_cosine", run.main_role),
    predict=lambda run: expected_cosine(run, run.main_role),
    zero_line=True,
)
OUTPUT_ALIGNMENT = Measure(
    "output-alignment",
    "Cosine of update and weights, output layer",
    "cosine",
    """Far below its dots for long, learning itself keeps growing this layer, and theory does not hold for it. That is
    why its decay should stay constant and not be corrected (arXiv 2512.08217, Appendix D).""",
    lambda run: run.of_group("update_cosine", "output"),
    predict=lambda run: expected_cosine(run, "output"),
    zero_line=True,
)
MEASURES = (LOSS, VALIDATION_LOSS, ACCURACY, WEIGHT_NORM, GRADIENT_NORM, SPECTRAL_NORM, SIGN_NORM, EFFECTIVE_LR)
MEASURES += (LR, DECAY, ROTATION, ALIGNMENT, OUTPUT_ALIGNMENT)
