"""Find how fast a recipe was measured to train, in the log of its own run or in benchmarks/end_to_end.py's results."""

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

# Fields of every recipe that affect the cost of a step, in addition to those of its own class.
COSTLY = ("optimizer", "batch_size", "accumulate", "precision", "compile")
# The benchmark's names of the optimizers, by family.
FAMILIES = {"ScionC": "scion", "torch AdamW, fused": "adam", "torch Muon + AdamW, fused": "muon"}
# Models with the same name and size whose heads or positions differ.
LIKE_PARAMETERS = 0.02


@final
@dataclass(frozen=True)
class MeasuredPace:
    """A measurement.

    Attributes:
        source: The file of the measurement.
        device: The device in words.
        devices: The number of devices.
        optimizer: The optimizer.
        seconds_per_step: The time of a step with the recipe's batch.
        optimizer_share: The optimizer's share of this time, or None if it was not measured separately.
    """

    source: str
    device: str
    devices: int
    optimizer: str
    seconds_per_step: float
    optimizer_share: float | None


def measured_paces(recipe: Recipe, parameters: int, run_folder: Path, results: Path) -> list[MeasuredPace]:
    """Return all measurements, those of the recipe's own run first.

    Args:
        recipe: The recipe to train.
        parameters: The number of parameters of its model.
        run_folder: A folder that may contain a run of the recipe.
        results: A folder that may contain files of benchmarks/end_to_end.py.

    Raises:
        ValueError: A file has the name of a result but is not one.
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
                f"{path} is not a result of benchmarks/end_to_end.py ({error!r}); write it again or remove it"
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
