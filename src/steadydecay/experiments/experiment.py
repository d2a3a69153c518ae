"""What an experiment is: a claim, runs, and a rule that says from them whether the claim holds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from steadydecay.experiments.criterion import Criterion
from steadydecay.experiments.panels import Panel
from steadydecay.recipes.recipe import Fields, Recipe
from steadydecay.report.runs import Run

# By the label of a variant, one run for each seed.
Runs = Mapping[str, Sequence[Run]]
Variants = Callable[[Recipe], Mapping[str, Fields]]


@final
@dataclass(frozen=True)
class Finding:
    """What one part of an experiment measured.

    Attributes:
        values: by the key of a criterion, one number for each seed.
        panels: of the figure.
        columns, rows: of the table, as text; the first column names the row.
        notes: numbers that no criterion asks for, by their words.
    """

    values: Mapping[str, Sequence[float]]
    panels: Sequence[Panel]
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    notes: Mapping[str, float] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class Part:
    """One set of runs with its criteria; an experiment about dynamics has one for each kind of model.

    Attributes:
        kind: a key of `experiments.scales.KINDS`; None for a simulation, which has no runs.
        criteria: by key; `examine` gives values for each of them.
        examine: what the runs, by label, show. A simulation is given none.
        variants: from the plain recipe of ScionC to the fields of each run, "optimizer" among them, by label.
        seeds: of the runs at the embedded scale.
        embedded: fields of all runs at the embedded scale, where this experiment needs more than the others.
        may_lack_runs: whether `examine` can do without a variant of which no run finished, as in a grid whose largest
            learning rates diverge. Otherwise the criteria stay open.
    """

    kind: str | None
    criteria: Mapping[str, Criterion]
    examine: Callable[[Runs], Finding]
    variants: Variants = lambda plain: {}
    seeds: int = 3
    embedded: Fields = field(default_factory=dict)
    may_lack_runs: bool = False


@final
@dataclass(frozen=True)
class Experiment:
    """One row of the paper's experiments.

    Attributes:
        title: what it is about, in a few words.
        claim: what is tested, in a sentence.
        paper: what the paper shows, with its numbers.
        parts: what is run; their criteria all belong to the claim.
        paper_kind: the kind of model that the paper trained; the scale "paper" runs that part alone.
        paper_table: columns and rows that the paper has, where it is a table.
        why_not: why the embedded scale cannot show it, and what scale would, where that is so.
    """

    title: str
    claim: str
    paper: str
    parts: Sequence[Part]
    paper_kind: str | None = None
    paper_table: tuple[Sequence[str], Sequence[Sequence[str]]] = ((), ())
    why_not: str = ""

    def parts_at(self, scale: str) -> list[Part]:
        """Those that a scale runs: all, or at the paper's scale simulations and what the paper trained."""
        return [part for part in self.parts if scale == "embedded" or part.kind in (None, self.paper_kind)]


def of_both_kinds(
    variants: Variants, criteria: Mapping[str, Criterion], examine: Callable[[Runs], Finding], **seeds: int
) -> list[Part]:
    """The same part on the ViT and on the GPT; `vit` and `gpt` are the numbers of seeds."""
    given: dict[str, Any] = {"criteria": criteria, "examine": examine, "variants": variants}
    return [Part(kind, seeds=seeds.get(kind, 3), **given) for kind in ("vit", "gpt")]
