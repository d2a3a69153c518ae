"""Each optimizer at its own best learning rate and decay, beside its corrected twin; not an experiment of the paper."""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from steadydecay.experiments.criterion import Criterion
from steadydecay.experiments.experiment import Experiment, Finding, Part, Runs
from steadydecay.experiments.panels import Line, Panel
from steadydecay.experiments.run_measures import differences, final_loss, mean_and_deviation, norm_kept
from steadydecay.recipes.derivation import recipe_for
from steadydecay.recipes.recipe import Fields, Recipe
from steadydecay.report.runs import Run

# By title: the optimizer, and that whose decay its own corrects.
TWINS = {"AdamW": "AdamC", "Scion": "ScionC", "Muon": "MuonC", "SGDW": "SGDC"}
NAMES = {title: title.lower() for pair in TWINS.items() for title in pair}
# Of the recipe's own learning rate and decay, which were chosen to reach steady state and not for the loss.
LR_FACTORS = (0.5, 1.0, 2.0)
DECAY_FACTORS = (0.11, 0.33, 1.0)
# What may be lost: the spread of one setting over seeds is as large.
MARGIN = 0.02
CRITERIA = {
    corrected: Criterion(
        f"validation loss of {corrected} less that of {plain}, each at its own best, in nats", high=MARGIN
    )
    for plain, corrected in TWINS.items()
}


class Setting(NamedTuple):
    """One cell of an optimizer's grid: its factors, its runs' label, and their mean loss."""

    lr: float
    decay: float
    label: str
    loss: float

    @property
    def is_at_edge(self) -> bool:
        """Whether a better setting may lie beyond the grid."""
        return self.lr in (LR_FACTORS[0], LR_FACTORS[-1]) or self.decay in (DECAY_FACTORS[0], DECAY_FACTORS[-1])


def variants(plain: Recipe) -> dict[str, Fields]:
    """The grid of each optimizer around the settings that its recipe has for it."""
    made = {}
    for title, name in NAMES.items():
        own = recipe_for(type(plain), plain.size, name, {})
        for lr, decay in itertools.product(LR_FACTORS, DECAY_FACTORS):
            made[label_of(title, lr, decay)] = {
                "optimizer": name,
                "lr": own.lr * lr,
                "output_lr": own.output_lr * lr,
                "decay_per_step": own.decay_per_step * decay,
            }
    return made


def label_of(title: str, lr: float, decay: float) -> str:
    return f"{title}, γ × {lr:g}, η × {decay:g}"


def examine(runs: Runs) -> Finding:
    best = {title: best_of(title, runs) for title in NAMES}
    values = {
        corrected: differences(runs[best[corrected].label], runs[best[plain].label], final_loss)
        for plain, corrected in TWINS.items()
    }
    columns = (
        "optimizer at its own best",
        "γ ×",
        "η ×",
        "validation loss",
        "‖θ‖, end ÷ middle",
        "at an end of the grid",
    )
    rows = [_row(title, setting, runs) for title, setting in best.items()]
    return Finding(values, [_panel(decay, runs) for decay in DECAY_FACTORS], columns, rows)


def best_of(title: str, runs: Runs) -> Setting:
    """The setting whose loss is lowest on the mean over the seeds; one that diverged is none."""
    settings = []
    for lr, decay in itertools.product(LR_FACTORS, DECAY_FACTORS):
        if found := runs[label := label_of(title, lr, decay)]:
            settings.append(Setting(lr, decay, label, statistics.fmean(map(final_loss, found))))
    return min(settings, key=lambda setting: setting.loss)


def _row(title: str, setting: Setting, runs: Runs) -> tuple[str, ...]:
    found = runs[setting.label]
    loss = mean_and_deviation([final_loss(run) for run in found])
    kept = mean_and_deviation([norm_kept(run) for run in found])
    return title, f"{setting.lr:g}", f"{setting.decay:g}", loss, kept, "yes" if setting.is_at_edge else "no"


def _panel(decay: float, runs: Runs) -> Panel:
    lines = []
    for title in NAMES:
        found: Mapping[float, Sequence[Run]] = {lr: runs[label_of(title, lr, decay)] for lr in LR_FACTORS}
        losses = {lr: statistics.fmean(map(final_loss, of_lr)) for lr, of_lr in found.items() if of_lr}
        lines.append(Line(title, list(losses), list(losses.values())))
    return Panel(f"decay × {decay:g}", "γ ÷ the recipe's", "validation loss", lines, is_log_x=True)


OWN_BEST = Experiment(
    title="each optimizer at its own best",
    claim="At its own best learning rate and decay, no corrected optimizer is worse than the one that it corrects.",
    paper="Not in the paper, which sweeps the decay of Scion and ScionC on a ViT (Tables 3 to 5).",
    parts=[
        Part(kind, CRITERIA, examine, variants, seeds=seeds, may_lack_runs=True)
        for kind, seeds in {"vit": 3, "gpt": 4}.items()
    ],
    paper_kind="gpt",
    why_not="Nearly every best setting lies at an end of the grid, so a better one may lie beyond it. On the GPT the "
    "best decays are among the smallest: 400 steps are short beside their memory, and the steady state that a "
    "correction holds is not reached. Longer runs (`steps=`) would say more.",
)
