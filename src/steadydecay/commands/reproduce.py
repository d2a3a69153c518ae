"""`steadydecay reproduce`."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro
from rich.console import Console, Group
from rich.table import Table

from steadydecay.commands.given_path import GivenPath
from steadydecay.experiments.named_experiments import EXPERIMENTS
from steadydecay.experiments.reproduction import FIGURE_NAME, Outcome, Place, reproduce
from steadydecay.experiments.run_measures import mean_and_deviation
from steadydecay.experiments.scales import require_fields
from steadydecay.recipes.recipe import Recipe
from steadydecay.trials.run_trials import Told
from steadydecay.trials.trials_progress import TrialsProgress

ALL = "all"

if TYPE_CHECKING:
    ExperimentName = str
else:
    ExperimentName = tyro.extras.literal_type_from_choices((*EXPERIMENTS, ALL))


@dataclass
class Reproduce:
    """Repeat one of the paper's experiments, or all of them, and judge its claim by a rule that was fixed beforehand.

    Runs that an earlier command trained are reused, and an interrupted run resumes.
    """

    name: tyro.conf.Positional[ExperimentName]
    """The experiment. Figures and tables are numbered as in the paper. seed003 compares AdamW with Adam-L2 on rare
    words; nesterov and steady_norm come from the paper's third version."""
    overrides: tyro.conf.Positional[tuple[str, ...]] = ()
    """Fields to change in all runs, written as name=value, such as steps=20. The results go to a folder whose name ends
    in -changed."""
    scale: Literal["embedded", "paper"] = "embedded"
    """The scale of the runs. embedded takes minutes on two CPU cores and needs no data; paper needs GPUs and --data."""
    data: str | None = None
    """The data at the paper's scale: ImageNet-1k as parquet files for a ViT, or token shards for a GPT."""
    out: GivenPath = Path("results")
    """The folder for figures, tables and verdicts. Each experiment has its own folder inside."""
    runs: GivenPath = Path("runs/reproduce")
    """The folder for the training runs, which the experiments share."""
    processes: int | None = None
    """The number of runs to train at the same time. The default is one on each core."""

    def run(self) -> None:
        names = list(EXPERIMENTS) if self.name == ALL else [self.name]
        given = self._given(names)
        # Wider than a narrow terminal, because a truncated number would be worse.
        console = Console(width=max(Console().width, 160))
        place = Place(self.out, self.runs / self.scale, self.processes)
        for name in names:
            outcome = reproduce(name, EXPERIMENTS[name], self.scale, place, partial(_progress, name), given)
            console.print(_shown(outcome), highlight=False)

    def _given(self, names: Sequence[str]) -> dict[str, Any]:
        parts = [part for name in names for part in EXPERIMENTS[name].parts_at(self.scale)]
        kinds = {part.kind for part in parts if part.kind is not None}
        given = require_fields(kinds, self.overrides)
        if self.data is not None:
            given["data"] = self.data
        elif self.scale == "paper" and kinds:
            raise ValueError(
                f"data is missing; at the paper's scale, {self.name} needs the data of {', '.join(kinds)} (--data)"
            )
        return given


def _progress(name: str, recipes: Sequence[Recipe]) -> AbstractContextManager[Told]:
    return TrialsProgress(name, recipes) if recipes else nullcontext(lambda end: None)


def _shown(outcome: Outcome) -> Group:
    """Format the claim, the numbers, each criterion and the verdict for a terminal."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for index, column in enumerate(outcome.columns):
        cells = [row[index] for row in outcome.rows if index < len(row)]
        # On a narrow terminal, headers may break into lines but numbers never.
        table.add_column(column, justify="right" if index else "left", min_width=max(map(len, cells), default=0))
    for row in outcome.rows:
        table.add_row(*row)
    words = {"reproduced": "holds", "not reproduced": "DOES NOT HOLD", "inconclusive": "open"}
    criteria = [
        f"{words[one.verdict]}: {name}: {mean_and_deviation(one.values)}, {one.criterion.range_in_words} if it holds"
        for name, one in outcome.judged.items()
    ]
    unfinished = [f"{end.folder.name} {end.ending.status}: {end.ending.message}" for end in outcome.unfinished]
    return Group(
        f"{outcome.name}: {outcome.experiment.title}",
        f"claim: {outcome.experiment.claim}",
        "",
        table,
        "",
        *criteria,
        *unfinished,
        f"verdict: {outcome.verdict}; figure: {outcome.folder / FIGURE_NAME}",
        "",
    )
