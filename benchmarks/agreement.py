"""Predicted against simulated squared weight norm, for every LMO × momentum × schedule.

python benchmarks/agreement.py                  # writes results/agreement.json and docs/agreement.md (half an hour)
python benchmarks/agreement.py --page           # writes docs/agreement.md from the results that there are
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

from rich.progress import track

from steadydecay.theory import (
    MomentumFilter,
    Reference,
    correlation,
    decay,
    exponential_average,
    forecast,
    lion_average,
    nesterov_average,
    simulate,
)

LMOS: dict[str, Any] = {
    "RMS, 1024 entries": ("vector", 1024),
    "Sign": "sign",
    "ColNorm, 64 rows": ("vector", 64),
    "RowNorm, 16 columns": ("vector", 16),
    "Spectral 32×32": ("spectral", 32, 32),
    "Spectral 24×48": ("spectral", 24, 48),
    "Spectral 16×64": ("spectral", 16, 64),
    "Spectral 8×128": ("spectral", 8, 128),
}
FILTERS: dict[str, MomentumFilter] = {
    "EMA 0.5": exponential_average(0.5),
    "EMA 0.9": exponential_average(0.9),
    "EMA 0.98": exponential_average(0.98),
    "Nesterov 0.9": nesterov_average(0.9),
    "Nesterov 0.95": nesterov_average(0.95),
    "Lion 0.9, 0.99": lion_average(0.9, 0.99),
}
STEPS = 600
COSINE = [0.5 * (1 + math.cos(math.pi * step / STEPS)) for step in range(STEPS)]
LR = 0.1
DECAY = 0.05
# Where prediction and simulation are compared: the farthest of these counts.
SHARES_OF_RUN = (0.3, 0.5, 0.7, 0.85, 1.0)
ENTRIES = 100_000
RESULTS = Path(__file__).parent / "results" / "agreement.json"
PAGE = Path(__file__).parents[1] / "docs" / "agreement.md"


class Plan(NamedTuple):
    """lr, decay and momentum of each step."""

    lr: list[float]
    decay: list[float]
    momentum: list[Any]


def plans(name: str) -> dict[str, Plan]:
    """The schedules for one momentum: constant, two decay rules under a cosine lr, a cosine carried by the momentum."""
    start = FILTERS[name]
    reference = Reference(LR, DECAY / LR, start)
    lrs, constant_lr = [LR * shape for shape in COSINE], [LR] * STEPS
    own = own_momentum(name)
    # Both betas fall with the cosine, so that γ_eff falls from its peak to γ.
    scaled = [MomentumFilter(start.carry * shape, start.decay * shape) for shape in COSINE]
    return {
        "constant": Plan(constant_lr, [DECAY] * STEPS, [own] * STEPS),
        "cosine, λ constant": Plan(lrs, [decay(lr, start, False, reference, "constant") for lr in lrs], [own] * STEPS),
        "cosine, corrected": Plan(lrs, [decay(lr, start, False, reference, "corrected") for lr in lrs], [own] * STEPS),
        "momentum schedule": Plan(
            constant_lr,
            [decay(LR, now, False, reference, "corrected") for now in scaled],
            scaled_momentum(name, scaled),
        ),
    }


def own_momentum(name: str) -> float | MomentumFilter:
    """What Scion has itself it is given as a number; Lion's filter is applied to the gradients."""
    return FILTERS[name] if name.startswith("Lion") else FILTERS[name].decay


def scaled_momentum(name: str, scaled: list[MomentumFilter]) -> list[Any]:
    return [one.decay for one in scaled] if name.startswith("EMA") else list(scaled)


def compare(lmo: Any, name: str, schedule: str, entries: int = ENTRIES, seed: int = 0) -> dict[str, list[float]]:
    """Simulated and predicted ‖θ‖² at the shares of the run, the latter for this LMO and for the paper's linear one."""
    nesterov = name.startswith("Nesterov")
    simulated = simulate(*plans(name)[schedule], nesterov=nesterov, lmo=lmo, dim=entries, seed=seed)
    return {
        "simulated": at_shares(simulated),
        "predicted": predict(lmo, name, schedule),
        "linear": predict("linear", name, schedule),
    }


def predict(lmo: Any, name: str, schedule: str) -> list[float]:
    return at_shares(forecast(*plans(name)[schedule], nesterov=name.startswith("Nesterov"), lmo=lmo))


def at_shares(norms_sq: list[float]) -> list[float]:
    return [norms_sq[round(share * STEPS) - 1] for share in SHARES_OF_RUN]


def farthest(cell: dict[str, list[float]], prediction: str) -> float:
    """The ratio of prediction to simulation that is farthest from 1."""
    ratios = [one / truth for one, truth in zip(cell[prediction], cell["simulated"], strict=True)]
    return max(ratios, key=lambda ratio: abs(math.log(ratio)))


def page_of(cells: dict[str, dict[str, dict[str, Any]]]) -> str:
    """The table of docs/agreement.md."""
    schedules = list(plans("EMA 0.5"))
    every = [cell for of_schedules in cells.values() for cell in of_schedules.values()]
    worst, worst_linear = (max(abs(farthest(cell, kind) - 1) for cell in every) for kind in ("predicted", "linear"))
    times, noise = ", ".join(f"{share:.0%}" for share in SHARES_OF_RUN), math.sqrt(2 / ENTRIES)
    lines = [
        "# Predicted against simulated norms",
        "",
        "This page compares the norms that the library predicts with simulated ones. It is written by",
        "`python benchmarks/agreement.py`. [forecast_theory.md](forecast_theory.md) derives the prediction and",
        "explains the columns.",
        "",
        "Each cell shows the predicted E‖θ‖² divided by the simulated one. Of five times of the run",
        f"({times} of {STEPS} steps, with η = {DECAY} at the peak), it shows the one at which the",
        "two are farthest apart. In brackets is the same ratio for the paper's Eq. 3, which assumes φ(ρ) = ρ.",
        f"A simulation of about {ENTRIES} entries has a standard error of {noise:.1%}.",
        "",
        f"Over all {len(every)} cells, the largest difference is **{worst:.1%}**, and by Eq. 3 {worst_linear:.0%}.",
        "",
        "| LMO | φ(0.9) | momentum | " + " | ".join(schedules) + " |",
        "|---|---|---|" + "---|" * len(schedules),
    ]
    for row, of_schedules in cells.items():
        lmo_name, filter_name = row.split(" | ")
        numbers = [
            f"{farthest(cell, 'predicted'):.3f} ({farthest(cell, 'linear'):.2f})" for cell in of_schedules.values()
        ]
        phi = f"{correlation(0.9, LMOS[lmo_name]):.3f}"
        lines.append(f"| {lmo_name} | {phi} | {filter_name} | " + " | ".join(numbers) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", action="store_true", help="only write the page again")
    if not parser.parse_args().page:
        rows = [(lmo_name, filter_name) for lmo_name in LMOS for filter_name in FILTERS]
        cells = {
            f"{lmo_name} | {filter_name}": {
                schedule: compare(LMOS[lmo_name], filter_name, schedule) for schedule in plans(filter_name)
            }
            for lmo_name, filter_name in track(rows)
        }
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(cells, indent=1) + "\n")
    PAGE.write_text(page_of(json.loads(RESULTS.read_text())))
    print(PAGE.read_text())


if __name__ == "__main__":
    main()
