"""The log of a run: strict JSON, one record a line, the configuration first.

JSON has no NaN, and a diverged run is worth reading: non-finite numbers are the strings "NaN", "Infinity", "-Infinity".
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TextIO, final

from steadydecay.run_log.atomic_write import replace_file

NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


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


@final
class RunLog:
    """An open log; one process writes to it. Use `RunLog.open`."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    @classmethod
    def open(cls, path: str | Path, *, configuration: dict[str, Any], resume_step: int | None) -> Self:
        """Start a log, or go on with one.

        Args:
            path: its folder is made if missing.
            configuration: names to JSON values; no name is "kind". Unused where a log that resumes has one already.
            resume_step: None starts anew and replaces an older log. Otherwise records with a later "step" are dropped,
                for the run will write them again.

        Raises:
            ValueError: configuration has the name "kind".
            TypeError: configuration holds what JSON cannot.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if "kind" in configuration:
            raise ValueError('configuration has the name "kind", which marks the record; legal is any other: rename it')
        first = json_line({"kind": "configuration", **configuration})
        kept = [] if resume_step is None or not path.exists() else _lines_until(path, resume_step)
        replace_file(path, kept if any(map(_is_configuration, kept)) else [first.encode(), *kept])
        return cls(path.open("a", encoding="utf-8", newline="\n"))

    def write(self, kind: str, **fields: Any) -> None:
        """Append a record and flush it.

        Args:
            kind: what the record is about: "step", "validation", ...
            fields: JSON values; records that a resumed run will write again carry their "step".

        Raises:
            TypeError: a field holds what JSON cannot.
        """
        self._file.write(json_line({"kind": kind, **fields}))
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def read_log(path: str | Path) -> LogContents:
    """Read a log, also one that is being written or was cut off.

    Raises:
        FileNotFoundError: no such file.
    """
    parsed = [_record(line) for line in _lines(Path(path))]
    records = [record for record in parsed if record is not None]
    first = next((record for record in records if record["kind"] == "configuration"), {})
    configuration = {name: value for name, value in first.items() if name != "kind"}
    return LogContents(configuration, [one for one in records if one is not first], len(parsed) - len(records))


def json_line(record: Mapping[str, Any]) -> str:
    """A record as a line of strict JSON.

    Raises:
        TypeError: a value that is no number, string, bool, None, list or mapping.

    >>> json_line({"kind": "step", "loss": float("nan")})
    '{"kind": "step", "loss": "NaN"}\\n'
    """
    return json.dumps({name: _strict(value, name) for name, value in record.items()}, allow_nan=False) + "\n"


def _strict(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _strict(item, f"{name}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(item, f"{name}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, float):
        return value if math.isfinite(value) else _non_finite_name(value)
    if value is None or isinstance(value, (str, int)):
        return value
    raise TypeError(
        f"{name} of a log record is {value!r}, a {type(value).__name__}; legal are numbers, strings, bools, None, "
        "lists and mappings: call float() on a tensor or an array of one element, str() on a path"
    )


def _non_finite_name(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _lenient(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lenient(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_lenient(item) for item in value]
    return NON_FINITE.get(value, value) if isinstance(value, str) else value


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        # UnicodeDecodeError and JSONDecodeError are ValueErrors; a deeply nested foreign line is a RecursionError.
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return _lenient(record) if isinstance(record, dict) and isinstance(record.get("kind"), str) else None


def _lines(path: Path) -> list[bytes]:
    return [line for line in path.read_bytes().splitlines(keepends=True) if line.strip()]


def _lines_until(path: Path, step: int) -> list[bytes]:
    """Foreign lines stay as they are; only the end of the file can be a record that was cut off."""
    lines = _lines(path)
    if lines and not lines[-1].endswith(b"\n"):
        lines[-1:] = [] if _record(lines[-1]) is None else [lines[-1] + b"\n"]
    return [line for line in lines if not _is_later(_record(line), step)]


def _is_later(record: dict[str, Any] | None, step: int) -> bool:
    return record is not None and isinstance(record.get("step"), (int, float)) and record["step"] > step


def _is_configuration(line: bytes) -> bool:
    record = _record(line)
    return record is not None and record["kind"] == "configuration"
