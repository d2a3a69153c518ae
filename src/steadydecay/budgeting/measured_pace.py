"""How fast a recipe was measured to train: by the log of its own run, or by benchmarks/end_to_end.py."""

import json
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, final

from steadydecay.budgeting.run_budget import step_seconds
from steadydecay.known_optimizers.named_optimizers import NAMED_OPTIMIZERS
from steadydecay.recipes.recipe import Recipe
from steadydecay.report.runs import load_run
from steadydecay.report.series import EMPTY
from steadydecay.run_log.record import LOG_NAME

# Fields of every recipe that decide what a step costs, beside those that a recipe adds.
COSTLY = ("optimizer", "batch_size", "accumulate", "precision", "compile")
# What the benchmark calls the optimizers that it trains with, by family.
FAMILIES = {"ScionC": "scion", "torch AdamW, fused": "adam", "torch Muon + AdamW, fused": "muon"}
# Two models of one name and size whose heads or positions differ.
LIKE_PARAMETERS = 0.02


@final
@dataclass(frozen=True)
class MeasuredPace:
    """A measurement.

    Attributes:
        source: where it stands.
        device: on what it was made, in words.
        devices: how many of them.
        optimizer: under which one.
        seconds_per_step: of the recipe's batch.
        optimizer_share: of this time; None where it was not measured apart.
    """

    source: str
    device: str
    devices: int
    optimizer: str
    seconds_per_step: float
    optimizer_share: float | None


def measured_paces(recipe: Recipe, parameters: int, run_folder: Path, results: Path) -> list[MeasuredPace]:
    """All there are: that of the recipe's own run first.

    Args:
        recipe: to be trained.
        parameters: of its model.
        run_folder: that may hold a run of it.
        results: a folder that may hold files of benchmarks/end_to_end.py.

    Raises:
        ValueError: a file there is named like one of them and is none.
    """
    return [*_pace_of_run(recipe, run_folder), *_paces_of_results(recipe, parameters, results)]


def _pace_of_run(recipe: Recipe, folder: Path) -> Iterator[MeasuredPace]:
    path = folder / LOG_NAME
    if not path.is_file():
        return
    run = load_run(path, folder.name)
    own = {field.name for field in fields(recipe)} - {field.name for field in fields(Recipe)}
    is_alike = all(run.configuration.get(name) == getattr(recipe, name) for name in (*COSTLY, *own))
    seconds = run.series.get(("step", "seconds", ""), EMPTY).finite().values.tolist()
    if seconds and is_alike:
        device, count = run.configuration.get("device", "an unnamed device"), run.configuration.get("world_size")
        devices = count if isinstance(count, int) and count > 0 else 1
        yield MeasuredPace(str(path), str(device), devices, recipe.optimizer, statistics.median(seconds), None)


def _paces_of_results(recipe: Recipe, parameters: int, folder: Path) -> Iterator[MeasuredPace]:
    for path in sorted(folder.glob("end_to_end_*.json")):
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
            found = list(_paces_of_rows(result, recipe, path)) if _is_of_model(result, recipe, parameters) else []
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} is no result of benchmarks/end_to_end.py ({error!r}); write it again or take it away"
            ) from None
        yield from found


def _is_of_model(result: Mapping[str, Any], recipe: Recipe, parameters: int) -> bool:
    is_named = (result["model"], result["item"]) == (recipe.size, recipe.ITEM)
    return is_named and abs(result["parameters"] - parameters) <= LIKE_PARAMETERS * parameters


def _paces_of_rows(result: Mapping[str, Any], recipe: Recipe, path: Path) -> Iterator[MeasuredPace]:
    family = NAMED_OPTIMIZERS[recipe.optimizer].family
    for row in result["rows"]:
        if FAMILIES.get(row["optimizer"]) == family and row["is_compiled"] == recipe.compile:
            whole, optimizer = statistics.median(row["step_times"]), statistics.median(row["optimizer_times"])
            seconds = step_seconds(whole, optimizer, result["items"], recipe.items_per_step)
            yield MeasuredPace(
                str(path), _in_words(result["device"]), 1, row["optimizer"], seconds, optimizer / seconds
            )


def _in_words(device: Mapping[str, Any]) -> str:
    return f"{device['name']}, {device['threads']} threads" if "threads" in device else device["name"]
