"""AdamW against Adam with L2 on text with rare words (arXiv 1711.05101), and the worked example of one step."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from steadydecay.experiments.adam_steps import EXAMPLE, AdamSettings, adam_l2_step, adam_path, adamw_step
from steadydecay.experiments.criterion import Criterion
from steadydecay.experiments.experiment import Experiment, Finding, Part, Runs
from steadydecay.experiments.panels import Line, Panel
from steadydecay.experiments.rare_tokens import EmbeddingRun, WordModel, embedded_words, train_embedding
from steadydecay.report.style import title_of

SETTINGS = AdamSettings(lr=1e-3, weight_decay=0.1, beta1=0.9, beta2=0.95)
# λ of Adam-L2: AdamW's, and weaker ones.
PENALTIES = (0.1, 0.01, 0.001)
UPDATES = {"adamw": adamw_step, "adam_l2": adam_l2_step}
# Fewest steps with a gradient in each class of words; the words of the first have none.
CLASSES = (0, 1, 4, 16, 64, 256)
RARE_BELOW = 16
SEEDS = 3
CRITERIA = {
    "smaller": Criterion("norm of rare words at the end under Adam-L2 over that under AdamW, largest over λ", high=1.0),
    "faster": Criterion(
        "shrinkage of rare words over that of the most frequent under Adam-L2, largest over λ", high=1.0
    ),
    "inflated": Criterion("v under Adam-L2 over v under AdamW at λ = 0.1, smallest over the classes of words", low=1.0),
    "predicted": Criterion(
        "largest difference of the unused words' norm from theory, in shares of its start", high=0.002
    ),
}


def examine(unused: Runs, model: WordModel | None = None) -> Finding:
    """Train one word model four times for each seed; there are no runs of a recipe."""
    model = model or WordModel()
    of_seeds = [embedding_runs(replace(model, seed=model.seed + seed)) for seed in range(SEEDS)]
    measured = [measures(runs) for runs in of_seeds]
    first = of_seeds[0]
    return Finding(
        {key: [of_seed[key] for of_seed in measured] for key in CRITERIA},
        [_over_time(first), _by_class(first)],
        ("steps with a gradient", "words", *map(title_of_run, first), "v ratio"),
        [*class_rows(first), prediction_row(first), _loss_row(first)],
        worked_example(),
    )


def worked_example() -> dict[str, float]:
    """One late step of a weight of 0.4 with a gradient of 0.01, worked by hand in the note."""
    decoupled, coupled = adamw_step(*EXAMPLE), adam_l2_step(*EXAMPLE)
    return {
        "θ after one step of AdamW in the worked example": decoupled.weight,
        "θ after one step of Adam with L2 in it": coupled.weight,
        "v of Adam with L2 over that of AdamW in it": coupled.moments.second / decoupled.moments.second,
    }


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


def measures(runs: Sequence[EmbeddingRun]) -> dict[str, float]:
    """What the criteria ask of the runs of one seed."""
    adamw, *penalised = runs
    classes = list(word_classes(adamw.steps_seen).values())
    rare, frequent = adamw.steps_seen < RARE_BELOW, classes[-1]
    return {
        "smaller": max(final_share(run, rare) / final_share(adamw, rare) for run in penalised),
        "faster": max(final_share(run, rare) / final_share(run, frequent) for run in penalised),
        "inflated": min(inflation(adamw, penalised[0], chosen) for chosen in classes),
        "predicted": max(_difference(run) for run in runs),
    }


def _difference(run: EmbeddingRun) -> float:
    pairs = zip(_unused_norm(run), predicted_shares(run), strict=True)
    return max(abs(norm - predicted) for norm, predicted in pairs)


def _unused_norm(run: EmbeddingRun) -> list[float]:
    return run.norm_share[:, -run.unused :].median(dim=1).values.tolist()


def _over_time(runs: Sequence[EmbeddingRun]) -> Panel:
    """Words without a gradient, as they were and as theory has them."""
    lines = []
    for run in runs:
        norms, predicted = _unused_norm(run), predicted_shares(run)
        every = max(1, len(predicted) // 12)
        lines.append(Line(title_of_run(run), range(len(norms)), norms))
        lines.append(Line("theory", range(0, len(predicted), every), predicted[::every], is_points=True))
    return Panel("words without a gradient", "step", "norm ÷ norm at the start", lines, from_zero=True)


def _by_class(runs: Sequence[EmbeddingRun]) -> Panel:
    """All words at the end."""
    classes = word_classes(runs[0].steps_seen)
    x = [max(0.5, float(name.split()[0].rstrip("+"))) for name in classes]
    lines = [Line(title_of_run(run), x, [final_share(run, chosen) for chosen in classes.values()]) for run in runs]
    title, axis = "at the end", "steps with a gradient, at least"
    return Panel(title, axis, "norm ÷ norm at the start", lines, is_log_x=True, from_zero=True)


def _loss_row(runs: Sequence[EmbeddingRun]) -> tuple[str, ...]:
    return ("loss, nats", "", *(f"{run.loss:.3f}" for run in runs), "")


SEED003 = Experiment(
    title="AdamW and Adam with L2 on rare words",
    claim="Adam with L2 shrinks the embeddings of rare words faster than AdamW does, and inflates v.",
    paper="The worked example of one step in the note on AdamW and Adam with L2, and its consequence for rare tokens.",
    parts=[Part(None, CRITERIA, examine)],
)
