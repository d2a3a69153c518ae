"""The panels that most experiments share: loss or accuracy, ‖θ‖ and ‖g‖ over the steps."""

from steadydecay.experiments.experiment import Runs
from steadydecay.experiments.panels import Panel, over_seeds
from steadydecay.experiments.run_measures import gradient_norm, validation_loss, weight_norm
from steadydecay.report.runs import Run
from steadydecay.report.series import Series


def curves_of(runs: Runs) -> list[Panel]:
    """Return panels of validation loss (GPT) or accuracy (ViT), and of ‖θ‖ and ‖g‖ of the hidden layers."""
    return [
        quality_panel(runs),
        Panel("‖θ‖ of the hidden layers", "step", "‖θ‖", over_seeds(runs, weight_norm), from_zero=True),
        Panel("‖g‖ of the hidden layers", "step", "‖g‖", over_seeds(runs, gradient_norm, is_noisy=True), is_log_y=True),
    ]


def quality_panel(runs: Runs) -> Panel:
    """Return a panel of accuracy in percent if the model classifies, or else of the validation loss."""
    if any(len(run.accuracy) for of_label in runs.values() for run in of_label):
        return Panel("accuracy on validation images", "step", "%", over_seeds(runs, _percent))
    return Panel("validation loss", "step", "nats", over_seeds(runs, validation_loss))


def _percent(run: Run) -> Series:
    return Series(run.accuracy.steps, 100 * run.accuracy.values)
