"""Logs as training writes them, of a model whose norms follow the theory, for tests of the report."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from steadydecay.run_log.writer import RunLog

PEAK_LR, PEAK_DECAY = 0.03, 0.02
FIRST_NORM = 20.0
# γ²/η at the peak, in units in which its steady norm is 30.
GROWTH = 30.0**2 * 2 * PEAK_DECAY
LAYERS = ("embedding.weight", "blocks.0.mlp.up.weight", "blocks.1.mlp.up.weight")
IMAGE = "<img src=x onerror=alert(1)>"


def lr_at(step: int, steps: int) -> float:
    return PEAK_LR * (1 + math.cos(math.pi * (step - 1) / steps)) / 2


def decay_at(step: int, steps: int, is_corrected: bool) -> float:
    return PEAK_DECAY * (lr_at(step, steps) / PEAK_LR) ** (2 if is_corrected else 1)


def write_run(
    folder: Path,
    optimizer: str = "scionc",
    *,
    seed: int = 0,
    steps: int = 200,
    until: int | None = None,
    watch_every: int = 10,
    layers: Sequence[str] = LAYERS,
    loss: float = 1.5,
    settings: dict[str, Any] | None = None,
    top1: float | None = None,
) -> Path:
    """A run whose decay is corrected if the optimizer's name ends in "c"; returns its log.

    `until` cuts it short, `watch_every` = 0 is a log of a time without a monitor, `loss` is the last validation's.
    `top1` is the accuracy of a model that names classes, at every validation.
    """
    configuration = {"optimizer": optimizer, "seed": seed, "steps": steps, "lr": PEAK_LR} | (settings or {})
    path = folder / "run.jsonl"
    norm_sq = FIRST_NORM**2
    with RunLog.open(path, configuration=configuration, resume_step=None) as log:
        for step in range(1, (steps if until is None else until) + 1):
            measures = _measures(step, steps, optimizer.endswith("c"), norm_sq)
            norm_sq = measures["weight_norm"]["hidden"] ** 2
            wave = 0.1 * math.sin(step + seed)
            log.write("step", step=step, loss=loss + 3 / step + wave, seconds=0.25, **measures)
            if watch_every and (step % watch_every == 0 or step == steps):
                log.write("watch", step=step, **_watch(measures, layers))
            if step % max(1, steps // 10) == 0:
                accuracy = {} if top1 is None else {"top1": top1}
                log.write("validation", step=step, loss=loss + 2 * (1 - step / steps) + 0.01 * seed, **accuracy)
    return path


def _measures(step: int, steps: int, is_corrected: bool, norm_sq: float) -> dict[str, dict[str, float]]:
    lr, decay = lr_at(step, steps), decay_at(step, steps, is_corrected)
    growth = GROWTH * (lr / PEAK_LR) ** 2
    norm = math.sqrt((1 - decay) ** 2 * norm_sq + growth)
    steady = math.sqrt(growth / (2 * decay)) if decay else math.inf
    constant = decay_at(step, steps, False)
    return {
        "lr": {"output": 20 * lr, "hidden": lr},
        "decay": {"output": constant, "hidden": decay},
        "predicted_norm": {"output": steady / 2, "hidden": steady},
        "gradient_norm": {"output": 2.0, "hidden": 30.0 / norm},
        "weight_norm": {"output": norm / 2, "hidden": norm},
    }


def _watch(measures: dict[str, dict[str, float]], layers: Sequence[str]) -> dict[str, Any]:
    norm, steady = measures["weight_norm"]["hidden"], measures["predicted_norm"]["hidden"]
    of_layers = {name: _of_layer(norm / (1 + index), steady / (1 + index)) for index, name in enumerate(layers)}
    ratio = norm / steady
    verdict = "steady" if 0.9 < ratio < 1.1 else "falling" if ratio > 1 else "not yet there"
    of_roles = {
        role: _of_layer(measures["weight_norm"][role], measures["predicted_norm"][role])
        | {"effective_lr": 4 * measures["lr"][role], "spectral_geometric_mean": norm / 5, "sign_norm": norm / 3}
        for role in ("output", "hidden")
    }
    return {"layers": of_layers, "groups": of_roles, "verdicts": dict.fromkeys(layers, verdict)}


def _of_layer(norm: float, steady: float) -> dict[str, float]:
    return {
        "weight_norm": norm,
        "weight_rms": norm / 100,
        "gradient_norm": 1 / norm,
        "update_norm": 1.0,
        "update_cosine": -0.02,
        "rotation": 1 / norm,
        "predicted_norm": steady,
        "predicted_norm_measured": 0.9 * steady,
        "norm_ratio": norm / (0.9 * steady),
    }
