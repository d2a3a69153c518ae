"""Run one experiment: train the missing runs, evaluate all of them, and write figure, tables and verdict."""

import csv
import io
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from steadydecay.experiments.criterion import RULE, Judged, Verdict, judged, overall
from steadydecay.experiments.experiment import Experiment, Finding, Part, Runs
from steadydecay.experiments.panels import Panel, write_figure, write_lines
from steadydecay.experiments.scales import KINDS, recipes_of
from steadydecay.recipes.recipe import Recipe
from steadydecay.report.runs import load_run
from steadydecay.run_log.atomic_write import replace_file
from steadydecay.run_log.record import LOG_NAME
from steadydecay.trials.run_trials import Told, TrialEnd, run_trials

VERDICT_NAME, FIGURE_NAME, LINES_NAME, TABLE_NAME = "verdict.json", "figure.png", "figure.csv", "table.csv"
# The version of verdict.json. A folder with another version is not overwritten.
VERSION = 1
Progress = Callable[[Sequence[Recipe]], AbstractContextManager[Told]]


class Outcome(NamedTuple):
    """What an experiment found.

    Attributes:
        name, scale: The experiment and its scale.
        experiment: The experiment's description.
        verdict: The verdict on the claim.
        judged: Its criteria, by part and quantity.
        columns, rows: The table.
        folder: The folder to which everything was written.
        ends: The outcomes of its trials, finished or not.
    """

    name: str
    scale: str
    experiment: Experiment
    verdict: Verdict
    judged: Mapping[str, Judged]
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    folder: Path
    ends: Sequence[TrialEnd]

    @property
    def unfinished(self) -> list[TrialEnd]:
        """The trials that diverged or failed."""
        return [end for end in self.ends if end.ending.status != "finished"]


class Place(NamedTuple):
    """Where an experiment reads and writes.

    Attributes:
        results: The folder of all results.
        runs: The store of all runs, which experiments share.
        processes: The number of simultaneous trials. None is one on each core.
    """

    results: Path
    runs: Path
    processes: int | None = None


def reproduce(
    name: str,
    experiment: Experiment,
    scale: str,
    place: Place,
    progress: Progress,
    given: Mapping[str, Any] | None = None,
) -> Outcome:
    """Run an experiment and write `figure.png`, `figure.csv`, `table.csv` and `verdict.json` to results/NAME/SCALE/.

    Runs that ended before are reused, and interrupted ones resume.

    Args:
        name: The name of the experiment, which is also that of its folder.
        experiment: The experiment.
        scale: "embedded" or "paper".
        place: Where to read and write.
        progress: Creates the callback that is told about each run that ends.
        given: Fields for all runs, which replace the scale's. The results then go to results/NAME/SCALE-changed/,
            because the rule was not written for them.

    Raises:
        ValueError: A field is outside its range, or the folder has results of another version.
    """
    given = given or {}
    changed = {field for field in given if field != "data"}
    folder = place.results / name / (f"{scale}-changed" if changed else scale)
    _require_own_version(folder)
    began = time.perf_counter()
    parts = experiment.parts_at(scale)
    of_parts = [recipes_of(part, scale, given) for part in parts]
    recipes = list(
        dict.fromkeys(recipe for of_part in of_parts for of_seeds in of_part.values() for recipe in of_seeds)
    )
    with progress(recipes) as told:
        ends = run_trials(recipes, place.runs, processes=place.processes, told=told) if recipes else []
    found = [_examined(part, _runs(of_part, ends)) for part, of_part in zip(parts, of_parts, strict=True)]
    titles = [KINDS.get(part.kind or "", "Simulation") for part in parts]
    judgements = {
        f"{title}: {criterion.quantity}": judged(criterion, finding.values.get(key, ()))
        for title, part, finding in zip(titles, parts, found, strict=True)
        for key, criterion in part.criteria.items()
    }
    verdict = overall(one.verdict for one in judgements.values())
    columns, rows = _table(titles, found)
    outcome = Outcome(name, scale, experiment, verdict, judgements, columns, rows, folder, ends)
    folder.mkdir(parents=True, exist_ok=True)
    panels = _titled_panels(titles, found)
    write_figure(panels, folder / FIGURE_NAME)
    write_lines(panels, folder / LINES_NAME)
    _write_table(columns, rows, folder / TABLE_NAME)
    content = _as_json(outcome, titles, found, given, time.perf_counter() - began)
    replace_file(folder / VERDICT_NAME, [json.dumps(content, indent=1, ensure_ascii=False).encode(), b"\n"])
    return outcome


def _require_own_version(folder: Path) -> None:
    path = folder / VERDICT_NAME
    if not path.exists():
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8")).get("version")
    except (ValueError, AttributeError):
        found = "unreadable"
    if found != VERSION:
        raise ValueError(
            f"{path} has version {found!r}, but this release writes version {VERSION} of the results. Move that folder "
            "away, or choose another one (--out)."
        )


def _runs(of_part: Mapping[str, Sequence[Recipe]], ends: Sequence[TrialEnd]) -> Runs:
    """Return the finished runs by label. A diverged run is missing, which leaves criteria that need it undecided."""
    folders = {end.recipe: end.folder for end in ends if end.ending.status == "finished"}
    return {
        label: [load_run(folders[recipe] / LOG_NAME, label) for recipe in recipes if recipe in folders]
        for label, recipes in of_part.items()
    }


def _examined(part: Part, runs: Runs) -> Finding:
    missing = [label for label, of_label in runs.items() if not of_label]
    if missing and not part.may_lack_runs:
        return Finding({}, [], ("",), [(f"no run of {label!r} finished",) for label in missing])
    finding = part.examine(runs)
    assert finding.values.keys() == part.criteria.keys(), (finding.values.keys(), part.criteria.keys())
    return finding


def _titled_panels(titles: Sequence[str], found: Sequence[Finding]) -> list[Panel]:
    several = len(found) > 1
    return [
        replace(panel, title=f"{title}: {panel.title}") if several else panel
        for title, finding in zip(titles, found, strict=True)
        for panel in finding.panels
    ]


def _table(titles: Sequence[str], found: Sequence[Finding]) -> tuple[list[str], list[list[str]]]:
    """Return one table of all parts, with the columns of the parts in the order in which they appear."""
    columns = list(dict.fromkeys(column for finding in found for column in finding.columns[1:]))
    rows = []
    for title, finding in zip(titles, found, strict=True):
        for row in finding.rows:
            cells = dict(zip(finding.columns[1:], row[1:], strict=True))
            name = f"{title}: {row[0]}" if len(found) > 1 else row[0]
            rows.append([name, *(cells.get(column, "") for column in columns)])
    return [next((finding.columns[0] for finding in found if finding.columns), ""), *columns], rows


def _write_table(columns: Sequence[str], rows: Sequence[Sequence[str]], path: Path) -> None:
    content = io.StringIO()
    csv.writer(content, lineterminator="\n").writerows([columns, *rows])
    replace_file(path, [content.getvalue().encode()])


def _as_json(
    outcome: Outcome, titles: Sequence[str], found: Sequence[Finding], given: Mapping[str, Any], seconds: float
) -> dict[str, Any]:
    criteria = [f"{name}: {one.criterion.range_in_words}" for name, one in outcome.judged.items()]
    notes = {
        f"{title}: {name}": value for title, one in zip(titles, found, strict=True) for name, value in one.notes.items()
    }
    return {
        "name": outcome.name,
        "scale": outcome.scale,
        "verdict": outcome.verdict,
        "numbers": {name: _numbers(one) for name, one in outcome.judged.items()}
        | {n: _json(v) for n, v in notes.items()},
        "rule": " ".join([RULE, "Criteria:", "; ".join(criteria)]),
        "claim": outcome.experiment.claim,
        "version": VERSION,
        "given": {name: value for name, value in given.items() if name != "data"},
        "runs": len(outcome.ends),
        "runs_not_finished": [f"{end.folder.name}: {end.ending.message}" for end in outcome.unfinished],
        "cost_in_seconds": round(_cost(outcome.ends) or seconds),
        "table": {"columns": outcome.columns, "rows": outcome.rows},
    }


def _cost(ends: Sequence[TrialEnd]) -> float:
    """Return the seconds of the steps of all runs according to their logs, whenever they were trained."""
    logs = [load_run(end.folder / LOG_NAME, "") for end in ends if (end.folder / LOG_NAME).is_file()]
    return math.fsum(float(run.series[("step", "seconds", "")].values.sum()) for run in logs if len(run.loss))


def _numbers(one: Judged) -> dict[str, Any]:
    return {
        "mean": _json(one.mean),
        "sd": _json(one.deviation),
        "interval": [_json(one.low), _json(one.high)],
        "range": [_json(one.criterion.low), _json(one.criterion.high)],
        "values": [_json(value) for value in one.values],
        "verdict": one.verdict,
    }


def _json(value: float) -> float | None:
    """Round to six digits; return None for numbers that are not finite, which JSON cannot hold."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
