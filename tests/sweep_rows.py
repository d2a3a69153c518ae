"""Rows of made-up sweeps, and slots that end trials without training, for tests of sweeps."""

from collections.abc import Mapping
from pathlib import Path

from report_logs import write_run
from steadydecay.recipes.recipe import Recipe
from steadydecay.sweeps.trial_row import RowStatus, TrialRow
from steadydecay.trials.trial_folder import Ending


def row(
    setting: Mapping[str, str],
    seed: int = 0,
    loss: float | None = None,
    *,
    top1: float | None = None,
    status: RowStatus = "finished",
    message: str = "",
) -> TrialRow:
    """Of a trial; one without a loss is given the status that it has."""
    measures = {name: value for name, value in (("val_loss", loss), ("top1", top1)) if value is not None}
    setting = {"optimizer": "scionc", **setting}
    name = "-".join((*setting.values(), str(seed)))
    return TrialRow(setting, seed, status, measures, 1, name, message)


class WritingSlot:
    """Writes the log that training would; the loss is the learning rate plus the seed's hundredth.

    `errors` are raised by trials of their learning rates, the first at the first attempt and so on.
    """

    def __init__(self, errors: Mapping[float, list[BaseException]] | None = None) -> None:
        self._errors = errors or {}
        self.trained: list[tuple[float, int]] = []
        self.has_ended = False

    def train(self, recipe: Recipe, folder: Path) -> Ending:
        self.trained.append((recipe.lr, recipe.seed))
        if errors := self._errors.get(recipe.lr):
            raise errors.pop(0)
        write_run(folder, recipe.optimizer, seed=recipe.seed, steps=recipe.steps, loss=recipe.lr)
        return Ending("finished")

    def end(self) -> None:
        self.has_ended = True
