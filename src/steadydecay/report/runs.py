"""A run as series over steps, read from its log."""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np

from steadydecay.groups.roles import main_role
from steadydecay.report.find_logs import find_logs, unique_names
from steadydecay.report.series import EMPTY, Series
from steadydecay.run_log.readable_text import readable
from steadydecay.run_log.reader import LogFaults, records_over_steps
from steadydecay.run_log.record import LOG_NAME, logged_number

# The measures of each layer that the report reads; a log contains five times as many.
LAYER_MEASURES = {"norm_ratio", "weight_norm", "predicted_norm", "predicted_norm_measured"}
ROLE_MEASURES = ("weight_norm", "lr", "decay")
# (kind of record, measure, role or layer); the last is "" if there is one number for the whole model.
Key = tuple[str, str, str]


@final
@dataclass(frozen=True, eq=False)
class Run:
    """The contents of a log. Series that were not logged are empty.

    Attributes:
        name: The run's folder, with as much of the path as makes it unique.
        path: The path of the log.
        configuration: The first record, or empty if there is none.
        series: Everything that was logged over steps.
        verdicts: The verdict on each layer, from the last record that has verdicts.
        failure: The message with which training stopped, or "".
        faults: Counts of what in the log is not a record.
        not_finite: The monitor's report on the first layer that was not finite, with the log's "step", or empty.
    """

    name: str
    path: Path
    configuration: dict[str, Any]
    series: dict[Key, Series]
    verdicts: dict[str, str]
    failure: str
    faults: LogFaults
    not_finite: dict[str, Any] = field(default_factory=dict)

    @property
    def optimizer(self) -> str:
        """The name of the optimizer, or "" if the log does not say."""
        name = self.configuration.get("optimizer", "")
        return name if isinstance(name, str) else ""

    @property
    def loss(self) -> Series:
        return self.series.get(("step", "loss", ""), EMPTY)

    @property
    def validation_loss(self) -> Series:
        return self.series.get(("validation", "loss", ""), EMPTY)

    @property
    def accuracy(self) -> Series:
        """The share of validation images that are classified correctly, or empty if the model does not classify."""
        return self.series.get(("validation", "top1", ""), EMPTY)

    @property
    def logged_steps(self) -> np.ndarray:
        """The steps of the records of single steps, increasing, of shape (n,)."""
        of_steps = (series.steps for (kind, _, _), series in self.series.items() if kind == "step")
        return max(of_steps, key=len, default=EMPTY.steps)

    @property
    def steps_done(self) -> int:
        return int(max((series.steps[-1] for series in self.series.values()), default=0))

    @property
    def steps_planned(self) -> int:
        """The number of steps in the configuration or, if it does not say, the number that were done."""
        planned = logged_number(self.configuration.get("steps"))
        return int(planned) if planned is not None and np.isfinite(planned) and planned > 0 else self.steps_done

    def of_role(self, measure: str, role: str) -> Series:
        """Return a measure of all parameters of a role, from each step or otherwise from the monitor."""
        of_each_step = self.series.get(("step", measure, role), EMPTY)
        return of_each_step if len(of_each_step) else self.of_group(measure, role)

    def of_group(self, measure: str, role: str) -> Series:
        """Return a measure of a role from the monitor's records."""
        return self.series.get(("groups", measure, role), EMPTY)

    def roles(self) -> list[str]:
        """Return the roles with weights, in the order of the log."""
        of_roles = ("step", "groups")
        return list(
            dict.fromkeys(role for kind, what, role in self.series if kind in of_roles and what in ROLE_MEASURES)
        )

    @property
    def main_role(self) -> str:
        """The role whose norms the pictures show."""
        return main_role(self.roles())

    def of_layers(self, measure: str) -> dict[str, Series]:
        return {
            name: series for (kind, what, name), series in self.series.items() if (kind, what) == ("layers", measure)
        }


def load_runs(folder: Path) -> list[Run]:
    """Load every run below `folder`, sorted by name.

    Raises:
        ValueError: The folder contains no run.
    """
    logs = sorted(folder.glob(f"*/{LOG_NAME}"))
    if not logs:
        raise ValueError(f"folder is {folder}, which contains no */{LOG_NAME}; give the --out of a compare")
    return [load_run(path, path.parent.name) for path in logs]


def load_all(paths: Iterable[Path]) -> tuple[list[Run], list[str]]:
    """Load the runs at `paths` (see `find_logs`), each once, and say in words what is missing there.

    Raises:
        ValueError: A path is not a run, or there is no run at all.
    """
    logs, missing = find_logs(paths)
    return [load_run(path, name) for path, name in unique_names(logs).items()], missing


def load_run(path: Path, name: str) -> Run:
    """Read the log at `path`. Lines that are not records are counted and are never an error."""
    faults, columns, configuration, verdicts, failure = LogFaults(), _Columns(), None, {}, ""
    not_finite: dict[str, Any] = {}
    for record in records_over_steps(path, faults):
        if record["kind"] == "configuration":
            configuration = configuration or {key: value for key, value in record.items() if key != "kind"}
        elif record["kind"] == "failure":
            failure = f"step {record['step']}: {record.get('message', 'no message')}"
        else:
            columns.add(record)
            verdicts = _verdicts(record) or verdicts
            not_finite = not_finite or _not_finite(record)
    return Run(readable(name), path, configuration or {}, columns.as_series(), verdicts, failure, faults, not_finite)


@final
class _Columns:
    """Numbers by key in the order of the log, kept in arrays because a long log has millions of them."""

    def __init__(self) -> None:
        self._columns: dict[Key, tuple[array[float], array[float]]] = defaultdict(lambda: (array("d"), array("d")))

    def add(self, record: dict[str, Any]) -> None:
        for key, value in _numbers(record):
            steps, values = self._columns[key]
            steps.append(record["step"])
            values.append(value)

    def as_series(self) -> dict[Key, Series]:
        return {key: Series(np.array(steps), np.array(values)) for key, (steps, values) in self._columns.items()}


def _numbers(record: dict[str, Any]) -> Iterator[tuple[Key, float]]:
    if record["kind"] == "watch":
        yield from _numbers_of_watch(record)
        return
    for measure, content in record.items():
        for owner, value in content.items() if isinstance(content, dict) else (("", content),):
            if measure != "step" and (found := logged_number(value)) is not None:
                yield (record["kind"], measure, owner), found


def _numbers_of_watch(record: dict[str, Any]) -> Iterator[tuple[Key, float]]:
    for part, wanted in (("layers", LAYER_MEASURES), ("groups", None)):
        owners = record.get(part)
        for owner, measures in owners.items() if isinstance(owners, dict) else ():
            for measure, value in measures.items() if isinstance(measures, dict) else ():
                if (wanted is None or measure in wanted) and (found := logged_number(value)) is not None:
                    yield (part, measure, owner), found


def _verdicts(record: dict[str, Any]) -> dict[str, str]:
    found = record.get("verdicts")
    return {name: str(verdict) for name, verdict in found.items()} if isinstance(found, dict) else {}


def _not_finite(record: dict[str, Any]) -> dict[str, Any]:
    found = record.get("not_finite")
    return {**found, "step": record["step"]} if isinstance(found, dict) else {}
