"""One line of a run's log: strict JSON with a "kind".

JSON has no NaN, and a diverged run is worth reading: non-finite numbers are the strings "NaN", "Infinity", "-Infinity".
"""

import json
import math
from collections.abc import Mapping
from typing import Any

from steadydecay.run_log.readable_text import readable

LOG_NAME = "run.jsonl"
# A surrogate as JSON escapes it: that of a name of a file, or one of the two of a rare character.
HALF_CHARACTER = b"\\ud"
NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def json_line(record: Mapping[str, Any]) -> str:
    """A record as a line of strict JSON.

    Raises:
        TypeError: a value that is no number, string, bool, None, list or mapping.

    >>> json_line({"kind": "step", "loss": float("nan")})
    '{"kind": "step", "loss": "NaN"}\\n'
    """
    return json.dumps({name: _strict(value, name) for name, value in record.items()}, allow_nan=False) + "\n"


def parsed_record(line: bytes) -> dict[str, Any] | None:
    """The record that `json_line` wrote; None for a line that holds none: a record is a JSON object with a "kind".

    >>> parsed_record(b'{"kind": "step", "loss": "NaN"}'), parsed_record(b'{"kind": "st')
    ({'kind': 'step', 'loss': nan}, None)
    """
    try:
        # UnicodeDecodeError and JSONDecodeError are ValueErrors; a deeply nested foreign line is a RecursionError.
        record = json.loads(line)
        if not isinstance(record, dict) or not isinstance(record.get("kind"), str):
            return None
        record = _readable(record) if HALF_CHARACTER in line.lower() else record
        return _restored(record) if any(name in line for name in _QUOTED_NON_FINITE) else record
    except (ValueError, RecursionError):
        return None


def step_of(record: Mapping[str, Any]) -> float | None:
    """The step that a record is of; None if it has no "step", or one that is no finite number."""
    step = logged_number(record.get("step"))
    return step if step is not None and math.isfinite(step) else None


def logged_number(value: Any) -> float | None:
    """The value as a float, the names of numbers that are not finite included; None if it is no number.

    >>> logged_number(3), logged_number("-Infinity"), logged_number("3"), logged_number(True)
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


# Most lines hold none of them, and long logs have millions of numbers to look at.
_QUOTED_NON_FINITE = [f'"{name}"'.encode() for name in NON_FINITE]


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


def _readable(value: Any) -> Any:
    if isinstance(value, dict):
        return {readable(key): _readable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_readable(item) for item in value]
    return readable(value) if isinstance(value, str) else value


def _non_finite_name(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _restored(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _restored(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_restored(item) for item in value]
    return NON_FINITE.get(value, value) if isinstance(value, str) else value
