"""One trial as a row of the sweep's table."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

from steadydecay.recipes.recipe import Recipe
from steadydecay.report.runs import load_run
from steadydecay.report.summary import summary_of
from steadydecay.run_log.record import LOG_NAME
from steadydecay.trials.run_trials import TrialEnd
from steadydecay.trials.trial_folder import Status

RowStatus = Status | Literal["missing"]
MEASURES = ("val_loss", "top1", "hidden_norm_max", "hidden_norm_final", "grad_norm_mid", "grad_norm_final")
MEASURES += ("seconds_per_step",)
RESULT_COLUMNS = ("seed", "status", *MEASURES, "attempts", "trial", "message")


@final
@dataclass(frozen=True)
class TrialRow:
    """A row of `sweep.csv`.

    Attributes:
        setting: The swept fields as text, the optimizer first. "none" stands for None.
        seed: The seed of the trial.
        status: "finished", "diverged", "failed", or "missing" until it has ended.
        measures: Those of `MEASURES` that a finished trial's log contains, as `RunSummary` defines them.
        attempts: How often a process started or resumed the trial in the command that finished it.
        trial: Its folder below the sweep's `trials/`.
        message: The reason why it diverged or failed.
    """

    setting: Mapping[str, str]
    seed: int
    status: RowStatus
    measures: Mapping[str, float]
    attempts: int
    trial: str
    message: str

    @property
    def cells(self) -> dict[str, Any]:
        measures = {name: self.measures.get(name) for name in MEASURES}
        known = {"seed": self.seed, "status": self.status, "attempts": self.attempts, "trial": self.trial}
        return {**self.setting, **known, **measures, "message": self.message or None}


def setting_of(recipe: Recipe, fields: Sequence[str]) -> dict[str, str]:
    """Return the fields of a recipe as text."""
    return {name: _as_text(getattr(recipe, name)) for name in fields}


def missing_row(recipe: Recipe, fields: Sequence[str], trial: str) -> TrialRow:
    """Return the row of a trial that has not ended."""
    return TrialRow(setting_of(recipe, fields), recipe.seed, "missing", {}, 0, trial, "")


def row_of(end: TrialEnd, fields: Sequence[str], earlier_attempts: int) -> TrialRow:
    """Return the row of a trial that ended.

    Args:
        end: How it ended.
        fields: The swept fields.
        earlier_attempts: The attempts of the command that finished it, if that was an earlier one.
    """
    setting, (status, message) = setting_of(end.recipe, fields), end.ending
    measures = _measures(end.folder) if status == "finished" else {}
    # An earlier command that was killed right after the trial had ended has not recorded its attempts.
    attempts = end.attempts or earlier_attempts or 1
    return TrialRow(setting, end.recipe.seed, status, measures, attempts, end.folder.name, message)


def parsed_row(cells: Mapping[str, str]) -> TrialRow:
    """Parse the row that `TrialRow.cells` wrote into a CSV file.

    Raises:
        KeyError, ValueError: A column is missing, or a cell has another type.
    """
    setting = {name: text for name, text in cells.items() if name not in RESULT_COLUMNS}
    measures = {name: float(text) for name in MEASURES if (text := cells[name])}
    status = cells["status"]
    if status not in ("finished", "diverged", "failed", "missing"):
        raise ValueError(f"status is {status!r}")
    place = (int(cells["attempts"]), cells["trial"], cells["message"])
    return TrialRow(setting, int(cells["seed"]), status, measures, *place)


def _measures(folder: Path) -> dict[str, float]:
    summary = summary_of(load_run(folder / LOG_NAME, folder.name), last_step_fills_in=True)
    found = {name: getattr(summary, name) for name in MEASURES}
    return {name: value for name, value in found.items() if value is not None and math.isfinite(value)}


def _as_text(value: Any) -> str:
    return "none" if value is None else str(value)
