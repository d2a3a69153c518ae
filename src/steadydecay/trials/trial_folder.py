"""Where a recipe's run is stored, and how that run ended according to its log."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Literal, NamedTuple

from steadydecay.recipes.recipe import Recipe
from steadydecay.run_log.reader import LogFaults, records_over_steps
from steadydecay.run_log.record import LOG_NAME, step_of

Status = Literal["finished", "diverged", "failed"]


class Ending(NamedTuple):
    """How a run ended.

    Attributes:
        status: "finished" after its last step; "diverged" at a loss or gradient that was not finite, which would recur
            in a second run; "failed" for another reason.
        message: The reason, or "" for a finished run.
    """

    status: Status
    message: str = ""


def trial_name(recipe: Recipe) -> str:
    """Name a trial by kind, optimizer and seed, for people, and by a hash of all fields, so that no two share a
    folder."""
    kind = type(recipe).__name__.removesuffix("Recipe").lower()
    content = json.dumps([kind, asdict(recipe)], sort_keys=True, default=str)
    digest = hashlib.blake2b(content.encode(), digest_size=5).hexdigest()
    return f"{kind}-{recipe.optimizer}-seed{recipe.seed}-{digest}"


def ending_of(recipe: Recipe, folder: Path) -> Ending | None:
    """Return how the run in a folder ended, or None if its log is missing or stops before the last step."""
    path = folder / LOG_NAME
    if not path.is_file():
        return None
    ending = None
    for record in records_over_steps(path, LogFaults()):
        if record["kind"] == "failure":
            ending = Ending("diverged", str(record.get("message", "it diverged")))
        elif record["kind"] == "validation" and step_of(record) == recipe.steps:
            ending = Ending("finished")
    return ending
