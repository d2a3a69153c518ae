"""Read a run's log one record at a time, however long it is, and count the lines that are not records.

The log may still be growing, may have been cut off, and may contain lines that other programs wrote.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, final

from steadydecay.run_log.plain_file import open_plain
from steadydecay.run_log.record import parsed_record, step_of


@final
@dataclass
class LogFaults:
    """Counts of what was skipped while a log was read.

    Attributes:
        foreign: The number of complete lines that are not records, or not records of a step where steps are read.
        is_cut_off: Whether the last line is incomplete, because it is being written or its writer was killed.
        repeated: The number of records whose step does not come after an earlier record of the same kind.
    """

    foreign: int = 0
    is_cut_off: bool = False
    repeated: int = 0


class LogContents(NamedTuple):
    """The contents of a log.

    Attributes:
        configuration: The first configuration record without its kind; empty if there is none.
        records: All other records in order. Each has a "kind".
        skipped_lines: The number of lines that were cut off or foreign.
    """

    configuration: dict[str, Any]
    records: list[dict[str, Any]]
    skipped_lines: int


def judged_lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any] | None]]:
    """Yield each line that is not blank, unchanged, together with the record that it contains.

    The record is None if the line is foreign or, when its line end is missing, cut off.

    Raises:
        OSError: The file cannot be read.
        ValueError: The path is not a regular file and so might never end.
    """
    with open_plain(path) as file:
        for line in file:
            if line.strip():
                yield line, parsed_record(line)


def records(path: Path, faults: LogFaults) -> Iterator[dict[str, Any]]:
    """Yield each record in order; `faults` counts the other lines. Raises the errors of `judged_lines`."""
    for line, record in judged_lines(path):
        if record is not None:
            yield record
        elif line.endswith(b"\n"):
            faults.foreign += 1
        else:
            faults.is_cut_off = True


def records_over_steps(path: Path, faults: LogFaults) -> Iterator[dict[str, Any]]:
    """Yield configurations and records with increasing steps of each kind. Raises the errors of `judged_lines`."""
    latest: dict[str, float] = {}
    for record in records(path, faults):
        kind, step = record["kind"], step_of(record)
        if kind == "configuration" and "step" not in record:
            yield record
        elif step is None:
            faults.foreign += 1
        elif step <= latest.get(kind, -math.inf):
            faults.repeated += 1
        else:
            latest[kind] = step
            yield record


def read_log(path: str | Path) -> LogContents:
    """Read the whole log at once.

    Raises:
        FileNotFoundError: The file does not exist.
    """
    faults = LogFaults()
    found = list(records(Path(path), faults))
    first = next((record for record in found if record["kind"] == "configuration"), {})
    configuration = {name: value for name, value in first.items() if name != "kind"}
    return LogContents(configuration, [one for one in found if one is not first], faults.foreign + faults.is_cut_off)
