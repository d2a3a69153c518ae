"""The parts of an experiment: a claim, runs, and a rule that decides from them whether the claim holds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from steadydecay.experiments.criterion import Criterion
from steadydecay.experiments.panels import Panel
from steadydecay.recipes.recipe import Fields, Recipe
from steadydecay.report.runs import Run

# Runs by the label of a variant, one for each seed.
Runs = Mapping[str, Sequence[Run]]
Variants = Callable[[Recipe], Mapping[str, Fields]]


@final
@dataclass(frozen=True)
class Finding:
    """What one part of an experiment measured.

    Attributes:
        values: By the key of a criterion, one number for each seed.
        panels: The panels of the figure.
        columns, rows: The table as text, whose first column names the row.
        notes: Numbers that no criterion needs, by their description.
    """

    values: Mapping[str, Sequence[float]]
    panels: Sequence[Panel]
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    notes: Mapping[str, float] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class Part:
    """One set of runs with its criteria. An experiment about dynamics has one for each kind of model.

    Attributes:
        kind: A key of `experiments.scales.KINDS`, or None for a simulation, which has no runs.
        criteria: The criteria by key. `examine` returns values for each of them.
        examine: Evaluates the runs by label. A simulation receives none.
        variants: Maps the plain recipe of ScionC to the fields of each run (including "optimizer") by label.
        seeds: The seeds of the runs at the embedded scale.
        embedded: Fields of all runs at the embedded scale, if this experiment needs more than the others.
        may_lack_runs: Whether `examine` can do without a variant of which no run finished, as in a grid whose largest
            learning rates diverge. Otherwise the criteria stay undecided.
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
    """One of the paper's experiments.

    Attributes:
        title: The subject in a few words.
        claim: The claim to test, in a sentence.
        paper: What the paper shows, with its numbers.
        parts: What to run. The criteria of all parts belong to the claim.
        paper_kind: The kind of model that the paper trained. The scale "paper" runs only that part.
        paper_table: The columns and rows of the paper's table, if there is one.
        why_not: Why the embedded scale cannot show the claim, and which scale would, if so.
    """

    title: str
    claim: str
    paper: str
    parts: Sequence[Part]
    paper_kind: str | None = None
    paper_table: tuple[Sequence[str], Sequence[Sequence[str]]] = ((), ())
    why_not: str = ""

    def parts_at(self, scale: str) -> list[Part]:
        """Return the parts that a scale runs: all, or at the paper's scale simulations and what the paper trained."""
        return [part for part in self.parts if scale == "embedded" or part.kind in (None, self.paper_kind)]


def of_both_kinds(
    variants: Variants, criteria: Mapping[str, Criterion], examine: Callable[[Runs], Finding], **seeds: int
) -> list[Part]:
    """The same part on the ViT and on the GPT; `vit` and `gpt` are the numbers of seeds."""
    given: dict[str, Any] = {"criteria": criteria, "examine": examine, "variants": variants}
    return [Part(kind, seeds=seeds.get(kind, 3), **given) for kind in ("vit", "gpt")]
