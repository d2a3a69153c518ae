"""Print the main job's losses under ScionC with the form of the polar factor in use and with the plain float32 one.

python benchmarks/polar_losses.py --seeds 3       # six runs of `steadydecay compare gpt`, 6 minutes on two cores
"""

import argparse
import contextlib
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from steadydecay.bench.forced_form import forced_form
from steadydecay.experiments.compare import compare
from steadydecay.recipes.gpt.recipe import gpt_recipe
from steadydecay.report.summary import RunSummary

FORMS: dict[str, Callable[[], contextlib.AbstractContextManager[None]]] = {
    "in use": contextlib.nullcontext,
    "plain, float32": lambda: forced_form("plain", torch.float32),
}


def summaries(size: str, seeds: int) -> list[RunSummary]:
    recipes = [gpt_recipe(size, "scionc", {"seed": seed}) for seed in range(seeds)]
    with tempfile.TemporaryDirectory() as folder:
        return compare(recipes, Path(folder))


def main() -> None:
    parser = argparse.ArgumentParser(description="Losses of the main job with the fast and the plain polar factor.")
    parser.add_argument("--size", default="mini")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    print(
        "| polar factor | validation loss | mean ± spread over seeds | hidden norm, end ÷ largest |\n|---|---|---|---|"
    )
    for name, form in FORMS.items():
        with form():
            runs = summaries(options.size, options.seeds)
        losses = [run.val_loss for run in runs]
        norms = ", ".join(f"{run.hidden_norm_final / run.hidden_norm_max:.4f}" for run in runs)
        spread = statistics.stdev(losses) if len(losses) > 1 else 0.0
        values = ", ".join(f"{loss:.4f}" for loss in losses)
        print(f"| {name} | {values} | {statistics.fmean(losses):.4f} ± {spread:.4f} | {norms} |", flush=True)


if __name__ == "__main__":
    main()
