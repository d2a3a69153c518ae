"""Where the run of a recipe lies in a store of runs, and how that run ended, as far as its log tells."""

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
        status: "finished" after its last step; "diverged" at a loss or gradient that was not finite, which a second
            run would meet again; "failed" for another reason.
        message: why, or "" for a finished run.
    """

    status: Status
    message: str = ""


def trial_name(recipe: Recipe) -> str:
    """Kind, optimizer and seed for people, and a hash of all fields, so that two recipes never share a folder."""
    kind = type(recipe).__name__.removesuffix("Recipe").lower()
    content = json.dumps([kind, asdict(recipe)], sort_keys=True, default=str)
    digest = hashlib.blake2b(content.encode(), digest_size=5).hexdigest()
    return f"{kind}-{recipe.optimizer}-seed{recipe.seed}-{digest}"


def ending_of(recipe: Recipe, folder: Path) -> Ending | None:
    """How the run in a folder ended, or None if it did not end: its log is missing or stops before the last step."""
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
