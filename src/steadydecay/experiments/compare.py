"""Run the same model under several optimizers and seeds, and summarise what happened to norms and loss."""

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from steadydecay.recipes.recipe import Recipe
from steadydecay.recipes.train import train
from steadydecay.recipes.workers import is_first_process
from steadydecay.report.runs import load_run
from steadydecay.report.summary import RunSummary, summary_of
from steadydecay.run_log.atomic_write import replace_file
from steadydecay.run_log.folder_lock import locked
from steadydecay.run_log.record import LOG_NAME

SUMMARY_NAME = "summary.json"


def compare(recipes: Sequence[Recipe], out: Path, *, restart: bool = False) -> list[RunSummary]:
    """Train each recipe in its own folder below `out`, and write `out/summary.json`.

    Finished runs are reused and interrupted ones resume, unless `restart` starts all of them again. A recipe that
    occurs
    twice is one run. Only one comparison at a time can write to `out`. Raises the errors of `train`.
    """
    recipes = list(dict.fromkeys(recipes))
    # Nobody else may restart the first run between two of them, because the summary describes all of them.
    with locked(out) if is_first_process() else nullcontext():
        for recipe in recipes:
            train(recipe, run_folder(out, recipe), restart=restart)
        summaries = [summarize(run_folder(out, recipe)) for recipe in recipes]
        content = json.dumps({"runs": [_as_json(summary) for summary in summaries]}, indent=2)
        replace_file(out / SUMMARY_NAME, [content.encode(), b"\n"])
    return summaries


def run_folder(out: Path, recipe: Recipe) -> Path:
    """Return the folder in which `compare` keeps a recipe's run."""
    return out / f"{recipe.optimizer}-seed{recipe.seed}"


def summarize(folder: Path) -> RunSummary:
    """Summarise a finished run from its log.

    Raises:
        ValueError: The log has no steps or no validations.
    """
    path = folder / LOG_NAME
    run = load_run(path, folder.name)
    steps, validations = len(run.loss), len(run.validation_loss)
    if not steps or not validations:
        raise ValueError(
            f"{path} has {steps} steps and {validations} validations, but needs some of both; continue the training"
        )
    return summary_of(run, last_step_fills_in=True)


def _as_json(summary: RunSummary) -> dict[str, Any]:
    """Return its fields, without what runs of this kind do not measure."""
    return {name: value for name, value in asdict(summary).items() if value is not None}
