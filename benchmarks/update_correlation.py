"""Why a forecast and a real run differ: how updates and gradients of the main job's GPT are correlated over steps.

    python benchmarks/update_correlation.py --optimizer scionc      # trains the mini GPT, prints a table (3 minutes)

F = 1 + 2Σ ρ_u(k) is what momentum makes of one update's squared norm; theory has Σ φ(β^k) (docs/forecast_theory.md).
"""

import argparse
import math
from collections import defaultdict, deque
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from steadydecay.groups.prediction import applied_decay, stepped_by, update_blocks
from steadydecay.recipes.gpt.recipe import gpt_recipe
from steadydecay.recipes.optimizers import OPTIMIZERS
from steadydecay.schedules.shapes import cosine
from steadydecay.theory import correlation

LAGS = 30


class Track:
    """Sums over steps of one layer."""

    def __init__(self) -> None:
        self.past: dict[str, deque[Tensor]] = {kind: deque(maxlen=LAGS) for kind in ("update", "gradient")}
        self.correlations = {kind: torch.zeros(LAGS, dtype=torch.float64) for kind in self.past}
        self.counts, self.update_sq, self.cosine = 0, 0.0, 0.0

    def add(self, update: Tensor, gradient: Tensor, weight: Tensor) -> None:
        for kind, tensor in (("update", update), ("gradient", gradient)):
            unit = tensor.flatten() / tensor.norm().clamp_min(1e-30)
            past = self.past[kind]
            if len(past) == LAGS:
                self.correlations[kind] += torch.stack(list(past)) @ unit
            past.appendleft(unit)
        if len(self.past["update"]) == LAGS:
            self.counts += 1
            self.update_sq += float(update.square().sum())
            self.cosine += float((update * weight).sum() / (update.norm() * weight.norm()))


def measure(optimizer_name: str, steps: int | None, seed: int) -> tuple[Any, dict[str, Track], dict[str, Any]]:
    """Train as `steadydecay compare` does; tracks of the second half of the run by parameter name."""
    recipe = gpt_recipe("mini", optimizer_name, {"seed": seed} | ({"steps": steps} if steps else {}))
    torch.manual_seed(recipe.seed)
    data = recipe.load_data()
    model = recipe.build_model(data)
    optimizer = OPTIMIZERS[recipe.optimizer](model, recipe)
    schedule = LambdaLR(optimizer, lambda step: cosine(step, recipe.steps, recipe.warmup_steps))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    layers = [(names[id(p)], p, group) for group in optimizer.param_groups for p in group["params"]]
    tracks: dict[str, Track] = defaultdict(Track)
    for step in range(recipe.steps):
        model(*recipe.train_batch(data, step, 0, 0, 1)).backward()
        if step < recipe.steps // 2 - LAGS:
            optimizer.step()
        else:
            before = {name: parameter.detach().double() for name, parameter, _ in layers}
            decays = {name: applied_decay(group, stepped_by(optimizer, group)) for name, _, group in layers}
            optimizer.step()
            for name, parameter, group in layers:
                assert parameter.grad is not None
                moved = (1 - decays[name]) * before[name] - parameter.detach().double()
                tracks[name].add(moved / group["lr"], parameter.grad.double(), before[name])
        schedule.step()
        optimizer.zero_grad()
    return optimizer, tracks, {name: (parameter, group) for name, parameter, group in layers}


def row(optimizer: Any, track: Track, parameter: Tensor, group: dict[str, Any]) -> list[float]:
    """‖u‖ ÷ theory's, cosine of update and weight, ρ_g(1), Σρ_g, F measured, F of theory, √(theory ÷ measured)."""
    known, shape = stepped_by(optimizer, group), tuple(parameter.shape)
    blocks, filter_ = update_blocks(group, shape, known), known.correlating_filter(group)
    expected_sq = math.fsum(norm_sq for _, norm_sq in blocks)
    lags = filter_.autocorrelation(LAGS + 1)[1:]
    sums = [2 * math.fsum(correlation(rho, lmo) for rho in lags) * norm_sq for lmo, norm_sq in blocks]
    theory = 1 + math.fsum(sums) / expected_sq
    updates, gradients = (track.correlations[kind] / track.counts for kind in ("update", "gradient"))
    measured = 1 + 2 * float(updates.sum())
    size = math.sqrt(track.update_sq / track.counts / expected_sq)
    cosine_mean = track.cosine / track.counts
    return [
        size,
        cosine_mean,
        float(gradients[0]),
        float(gradients.sum()),
        measured,
        theory,
        math.sqrt(theory / measured),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--optimizer", default="scionc")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    optimizer, tracks, layers = measure(arguments.optimizer, arguments.steps, arguments.seed)
    print(f"{arguments.optimizer}, second half of the run, {LAGS} lags")
    print("| layer | ‖u‖ ÷ theory's | cos(u, θ) | ρ_g(1) | Σρ_g | F measured | F of theory | √(theory ÷ measured) |")
    print("|---|---|---|---|---|---|---|---|")
    for name, track in tracks.items():
        numbers = row(optimizer, track, *layers[name])
        print(f"| {name} | " + " | ".join(f"{number:.2f}" for number in numbers) + " |")


if __name__ == "__main__":
    main()
