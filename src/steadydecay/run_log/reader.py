"""Read a run's log one record after the other, however long it is, and count what in it is no record.

The log may still be written, may have been cut off, and may hold lines of others.
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
    """What is left out, counted while a log is read.

    Attributes:
        foreign: whole lines that are no record, or none of a step where steps are read.
        is_cut_off: the last line has no end: it is being written, or its writer was killed.
        repeated: records of a step that an earlier record of the same kind had passed.
    """

    foreign: int = 0
    is_cut_off: bool = False
    repeated: int = 0


class LogContents(NamedTuple):
    """What a log holds.

    Attributes:
        configuration: of the first configuration record, without its kind; empty if there is none.
        records: all others, in order; each has a "kind".
        skipped_lines: how many lines were cut off or foreign.
    """

    configuration: dict[str, Any]
    records: list[dict[str, Any]]
    skipped_lines: int


def judged_lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any] | None]]:
    """Each line that is not blank, as it stands, and the record in it.

    None is a foreign line or, without an end, one that was cut off.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no plain file, which might never end.
    """
    with open_plain(path) as file:
        for line in file:
            if line.strip():
                yield line, parsed_record(line)


def records(path: Path, faults: LogFaults) -> Iterator[dict[str, Any]]:
    """Each record, in order; `faults` counts the lines that are none. Raises as `judged_lines`."""
    for line, record in judged_lines(path):
        if record is not None:
            yield record
        elif line.endswith(b"\n"):
            faults.foreign += 1
        else:
            faults.is_cut_off = True


def records_over_steps(path: Path, faults: LogFaults) -> Iterator[dict[str, Any]]:
    """The configurations, and each record of a step; steps rise within a kind. Raises as `judged_lines`."""
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
    """The whole log at once.

    Raises:
        FileNotFoundError: no such file.
    """
    faults = LogFaults()
    found = list(records(Path(path), faults))
    first = next((record for record in found if record["kind"] == "configuration"), {})
    configuration = {name: value for name, value in first.items() if name != "kind"}
    return LogContents(configuration, [one for one in found if one is not first], faults.foreign + faults.is_cut_off)
