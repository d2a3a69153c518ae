"""Runs that nobody trained: every series that an experiment may read, for any recipe."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from steadydecay.experiments.experiment import Part
from steadydecay.experiments.scales import recipes_of
from steadydecay.recipes.recipe import Recipe
from steadydecay.report.runs import Run
from steadydecay.report.series import Series
from steadydecay.run_log.reader import LogFaults

OF_STEPS = ("weight_norm", "gradient_norm", "predicted_norm", "decay", "lr")
OF_WATCH = ("update_cosine", "effective_lr", "spectral_geometric_mean", "sign_norm")


def fake_run(recipe: Recipe, label: str, **series: Any) -> Run:
    """A run whose measures are all 1, and a little more for each seed; `series` replaces some, as values over steps."""
    steps = np.arange(1, recipe.steps + 1, dtype=float)
    level = 1 + 0.01 * recipe.seed
    series = {"decay": 0.01 * level, **series}

    def of(name: str, length: int = len(steps)) -> Series:
        values = series.get(name, level)
        return Series(steps[-length:], np.broadcast_to(np.asarray(values, float), (len(steps),))[-length:])

    found = {("step", name, role): of(name) for name in OF_STEPS for role in ("hidden", "output")}
    found |= {("groups", name, role): of(name) for name in OF_WATCH for role in ("hidden", "output")}
    found |= {("step", "loss", ""): of("loss"), ("step", "seconds", ""): of("seconds")}
    found |= {("validation", "loss", ""): of("validation_loss")}
    if type(recipe).__name__ == "ViTRecipe":
        found |= {("validation", "top1", ""): of("top1")}
    return Run(label, Path("run.jsonl"), asdict(recipe), found, {}, "", LogFaults())


def fake_runs(part: Part, scale: str = "embedded", **series: Any) -> dict[str, list[Run]]:
    """A run for each recipe of a part."""
    of_part = recipes_of(part, scale, {"steps": 60} if scale == "embedded" else {})
    return {label: [fake_run(recipe, label, **series) for recipe in recipes] for label, recipes in of_part.items()}
