"""The records of a log one after the other, however long it is, and what in it is no record."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from steadydecay.run_log.log import NON_FINITE


@final
@dataclass
class LogFaults:
    """Lines that are no records, counted while the log is read.

    Attributes:
        foreign: whole lines that are no record.
        is_cut_off: the last line has no end: it is being written, or its writer was killed.
        repeated: records of a step that an earlier record of the same kind had passed.
    """

    foreign: int = 0
    is_cut_off: bool = False
    repeated: int = 0


def records(path: Path, faults: LogFaults) -> Iterator[dict[str, Any]]:
    """Each record of the log at `path`; steps rise within a kind. `faults` counts what is left out.

    Raises:
        OSError: the file cannot be read.
    """
    latest: dict[str, float] = {}
    with path.open("rb") as file:
        for line in file:
            record = _record(line)
            if record is None:
                _count(line, faults)
            elif "step" in record and record["step"] <= latest.get(record["kind"], -math.inf):
                faults.repeated += 1
            else:
                latest[record["kind"]] = record.get("step", -math.inf)
                yield record


def number(value: Any) -> float | None:
    """The value as a float, the names of numbers that are not finite included; None if it is no number.

    >>> number(3), number("-Infinity"), number("3"), number(True)
    (3.0, -inf, None, None)
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return NON_FINITE.get(value)
    try:
        return float(value) if isinstance(value, int | float) else None
    except OverflowError:
        return None


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        # UnicodeDecodeError and JSONDecodeError are ValueErrors; a deeply nested foreign line is a RecursionError.
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    is_record = isinstance(record, dict) and isinstance(record.get("kind"), str) and _has_legal_step(record)
    return record if is_record else None


def _has_legal_step(record: dict[str, Any]) -> bool:
    if "step" not in record:
        return record["kind"] == "configuration"
    step = number(record["step"])
    return step is not None and math.isfinite(step)


def _count(line: bytes, faults: LogFaults) -> None:
    if not line.strip():
        return
    if line.endswith(b"\n"):
        faults.foreign += 1
    else:
        faults.is_cut_off = True
