"""The same model under several optimizers and seeds: run them, and sum up what happened to norms and loss."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from steadydecay.recipes.recipe import Recipe
from steadydecay.recipes.train import LOG_NAME, train
from steadydecay.run_log.atomic_write import replace_file
from steadydecay.run_log.log import read_log

SUMMARY_NAME = "summary.json"
# Shares of a run's steps over which gradient norms are averaged: around its middle, and at its end.
MIDDLE_SHARE = 0.10
FINAL_SHARE = 0.05


@final
@dataclass(frozen=True)
class RunSummary:
    """One run in a line. Norms are Frobenius norms over all parameters with the role "hidden".

    Attributes:
        val_loss: at the last step, in nats.
        hidden_norm_max: largest weight norm in the second half of the run.
        hidden_norm_final: weight norm after the last step.
        grad_norm_mid: mean gradient norm over 10 % of the steps, around the middle.
        grad_norm_final: mean gradient norm over the last 5 % of the steps.
        seconds_per_step: median, without evaluations and checkpoints.
    """

    optimizer: str
    seed: int
    steps: int
    val_loss: float
    hidden_norm_max: float
    hidden_norm_final: float
    grad_norm_mid: float
    grad_norm_final: float
    seconds_per_step: float


def compare(recipes: Sequence[Recipe], out: Path, *, restart: bool = False) -> list[RunSummary]:
    """Train each recipe in a folder of its own below `out`, and write `out/summary.json`.

    Finished runs are taken as they are, cut ones go on; `restart` begins all anew. A recipe given twice is one run.
    Errors as in `train`.
    """
    recipes = list(dict.fromkeys(recipes))
    for recipe in recipes:
        train(recipe, run_folder(out, recipe), restart=restart)
    summaries = [summarize(run_folder(out, recipe)) for recipe in recipes]
    content = json.dumps({"runs": [asdict(summary) for summary in summaries]}, indent=2)
    replace_file(out / SUMMARY_NAME, [content.encode(), b"\n"])
    return summaries


def run_folder(out: Path, recipe: Recipe) -> Path:
    """Where `compare` keeps a recipe's run."""
    return out / f"{recipe.optimizer}-seed{recipe.seed}"


def summarize(folder: Path) -> RunSummary:
    """Sum up a finished run from its log.

    Raises:
        ValueError: the log holds no step or no validation.
    """
    log = read_log(folder / LOG_NAME)
    records = [record for record in log.records if record["kind"] == "step"]
    validations = [record["loss"] for record in log.records if record["kind"] == "validation"]
    if not records or not validations:
        raise ValueError(f"{folder / LOG_NAME} holds {len(records)} steps and {len(validations)} validations; train on")
    steps = log.configuration["steps"]
    return RunSummary(
        optimizer=log.configuration["optimizer"],
        seed=log.configuration["seed"],
        steps=steps,
        val_loss=validations[-1],
        hidden_norm_max=max(_hidden(records, "weight_norm", steps / 2, steps)),
        hidden_norm_final=records[-1]["weight_norm"]["hidden"],
        grad_norm_mid=statistics.fmean(_hidden(records, "gradient_norm", *middle_of(steps))),
        grad_norm_final=statistics.fmean(_hidden(records, "gradient_norm", (1 - FINAL_SHARE) * steps, steps)),
        seconds_per_step=statistics.median(record["seconds"] for record in records),
    )


def middle_of(steps: int) -> tuple[float, float]:
    """(after, until): the steps in the middle of a run."""
    return 0.5 * (1 - MIDDLE_SHARE) * steps, 0.5 * (1 + MIDDLE_SHARE) * steps


def _hidden(records: list[dict[str, Any]], measure: str, after: float, until: float) -> list[float]:
    """The measure over hidden layers at steps in (after, until], or at the last step if there is none."""
    chosen = [record for record in records if after < record["step"] <= until] or records[-1:]
    return [record[measure]["hidden"] for record in chosen]
