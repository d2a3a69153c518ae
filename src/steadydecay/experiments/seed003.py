"""AdamW against Adam with L2 on text with rare words (arXiv 1711.05101), and the worked example of one step."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from steadydecay.experiments.adam_steps import EXAMPLE, AdamSettings, adam_l2_step, adam_path, adamw_step
from steadydecay.experiments.outcome import Outcome
from steadydecay.experiments.rare_tokens import EmbeddingRun, WordModel, embedded_words, train_embedding
from steadydecay.report.picture import DASHES, MARKERS
from steadydecay.report.style import style_at, title_of

CLAIM = "Adam with L2 shrinks the embeddings of rare words faster than AdamW does, and inflates v"
SETTINGS = AdamSettings(lr=1e-3, weight_decay=0.1, beta1=0.9, beta2=0.95)
# λ of Adam-L2: AdamW's, and weaker ones.
PENALTIES = (0.1, 0.01, 0.001)
UPDATES = {"adamw": adamw_step, "adam_l2": adam_l2_step}
# Fewest steps with a gradient in each class of words; the words of the first have none.
CLASSES = (0, 1, 4, 16, 64, 256)
RARE_BELOW = 16
PICTURE_NAME = "seed003.png"


def seed003(out: Path, steps: int | None = None) -> Outcome:
    """Train one word model four times (20 s on one core), and work the example of one step.

    Args:
        out: an existing folder for the picture.
        steps: of each training, ≥ 1; by default 500.
    """
    model = WordModel() if steps is None else replace(WordModel(), steps=steps)
    runs = embedding_runs(model)
    return Outcome(
        claim=CLAIM,
        columns=("steps with a gradient", "words", *map(title_of_run, runs), "v ratio"),
        rows=[*class_rows(runs), prediction_row(runs), _loss_row(runs)],
        verdicts=verdicts(runs) | example_verdicts(),
        picture=write_picture(runs, out / PICTURE_NAME),
    )


def embedding_runs(model: WordModel) -> list[EmbeddingRun]:
    """AdamW first, then Adam-L2 with each penalty."""
    words = embedded_words(model)
    settings = [SETTINGS._replace(weight_decay=penalty) for penalty in PENALTIES]
    adamw = train_embedding(words, model, "adamw", SETTINGS)
    return [adamw, *(train_embedding(words, model, "adam_l2", chosen) for chosen in settings)]


def title_of_run(run: EmbeddingRun) -> str:
    """Optimizer and λ."""
    return f"{title_of(run.optimizer)} λ={run.settings.weight_decay:g}"


def word_classes(steps_seen: Tensor) -> dict[str, Tensor]:
    """Which words belong to each class, by its name; classes without a word are left out."""
    members = {}
    for first, end in pairwise((*CLASSES, math.inf)):
        last = "" if end == first + 1 else "+" if end == math.inf else f" to {end - 1}"
        members[f"{first}{last}"] = (steps_seen >= first) & (steps_seen < end)
    return {name: chosen for name, chosen in members.items() if chosen.any()}


def class_rows(runs: Sequence[EmbeddingRun]) -> list[tuple[str, ...]]:
    """For each class: its words, their norm over that at the start in each run, and how much larger v is."""
    rows = []
    for name, chosen in word_classes(runs[0].steps_seen).items():
        shares = [f"{final_share(run, chosen):.4f}" for run in runs]
        times = inflation(runs[0], runs[1], chosen)
        rows.append((name, str(int(chosen.sum())), *shares, "∞" if times == math.inf else f"{times:.1f}"))
    return rows


def prediction_row(runs: Sequence[EmbeddingRun]) -> tuple[str, ...]:
    """What theory says of words without a gradient."""
    return ("0, predicted", "", *(f"{predicted_shares(run)[-1]:.4f}" for run in runs), "∞")


def final_share(run: EmbeddingRun, chosen: Tensor) -> float:
    """Median over words of the norm at the end over that at the start."""
    return run.norm_share[-1, chosen].median().item()


def inflation(adamw: EmbeddingRun, adam_l2: EmbeddingRun, chosen: Tensor) -> float:
    """v under Adam-L2 over v under AdamW, both averaged over the run and the words."""
    under_adamw, under_l2 = (run.mean_second_moment[chosen].mean().item() for run in (adamw, adam_l2))
    return under_l2 / under_adamw if under_adamw else math.inf


def predicted_shares(run: EmbeddingRun) -> list[float]:
    """Norm of the unused rows over that at the start, before the first and after each step: median of the rows."""
    gradients = [0.0] * (len(run.norm_share) - 1)
    update, unused = UPDATES[run.optimizer], run.start[-run.unused :]
    paths = [adam_path(update, start, gradients, run.settings) for start in unused.flatten().tolist()]
    norms = torch.tensor(paths).unflatten(0, unused.shape).norm(dim=1)
    return (norms / norms[:, :1]).median(dim=0).values.tolist()


def verdicts(runs: Sequence[EmbeddingRun]) -> dict[str, bool]:
    """Each part of the claim that training can bear out."""
    adamw, *penalised = runs
    classes = list(word_classes(adamw.steps_seen).values())
    rare, frequent = adamw.steps_seen < RARE_BELOW, classes[-1]
    return {
        "rare words end smaller under Adam-L2 than under AdamW, at every λ": all(
            final_share(run, rare) < final_share(adamw, rare) for run in penalised
        ),
        "under Adam-L2 rare words shrink more than the most frequent, at every λ": all(
            final_share(run, rare) < final_share(run, frequent) for run in penalised
        ),
        f"v ratio: at λ={PENALTIES[0]:g}, v is larger under Adam-L2 than under AdamW in every class": all(
            inflation(adamw, penalised[0], chosen) > 1 for chosen in classes
        ),
    }


def example_verdicts() -> dict[str, bool]:
    """The worked example of one step, to its digits."""
    decoupled, coupled = adamw_step(*EXAMPLE), adam_l2_step(*EXAMPLE)
    parts = f"{decoupled.task_part:.3g} by the gradient, {decoupled.decay_part:.2g} by decay"
    ratio = coupled.moments.second / decoupled.moments.second
    return {
        f"one step of AdamW takes 0.4 to {decoupled.weight:.6f} ({parts})": f"{decoupled.weight:.6f}" == "0.399854",
        f"one step of Adam-L2 takes 0.4 to {coupled.weight:.6f}": f"{coupled.weight:.6f}" == "0.399866",
        f"v is {ratio:.4g} times larger after it": f"{ratio:.4g}" == "25",
    }


def write_picture(runs: Sequence[EmbeddingRun], path: Path) -> Path:
    """Words without a gradient over time, and words of each class at the end."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    over_time, by_class = figure.subplots(1, 2)
    classes = word_classes(runs[0].steps_seen)
    for index, run in enumerate(runs):
        _draw_over_time(over_time, run, index)
        shares = [final_share(run, chosen) for chosen in classes.values()]
        by_class.plot(
            list(classes), shares, label=title_of_run(run), **_line(index), marker=MARKERS[style_at(index).symbol]
        )
    over_time.set(title="words without a gradient", xlabel="step", ylabel="norm ÷ norm at the start")
    by_class.set(title="at the end, all words", xlabel="steps in which the word had a gradient")
    by_class.tick_params(axis="x", labelsize=8)
    for axes in (over_time, by_class):
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)
    return path


def _draw_over_time(axes: Axes, run: EmbeddingRun, index: int) -> None:
    axes.plot(run.norm_share[:, -run.unused :].median(dim=1).values.tolist(), label=title_of_run(run), **_line(index))
    predicted = predicted_shares(run)
    every = max(1, len(predicted) // 12)
    label = "theory" if index == 0 else None
    axes.plot(range(0, len(predicted), every), predicted[::every], "k+", markersize=6, label=label)


def _line(index: int) -> dict[str, Any]:
    style = style_at(index)
    return {"color": style.colour, "linestyle": DASHES[style.dash]}


def _loss_row(runs: Sequence[EmbeddingRun]) -> tuple[str, ...]:
    return ("loss, nats", "", *(f"{run.loss:.3f}" for run in runs), "")
