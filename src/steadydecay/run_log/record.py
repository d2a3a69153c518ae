"""One line of a run's log: strict JSON with a "kind".

JSON has no NaN, but the log of a diverged run must stay readable, so non-finite numbers are written as the strings
"NaN", "Infinity" and "-Infinity".
"""

import json
import math
from collections.abc import Mapping
from typing import Any

from steadydecay.run_log.readable_text import readable

LOG_NAME = "run.jsonl"
# The JSON escape of a surrogate, which may come from a file name or be one half of a rare character.
HALF_CHARACTER = b"\\ud"
NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def json_line(record: Mapping[str, Any]) -> str:
    """Format a record as a line of strict JSON.

    Raises:
        TypeError: A value is not a number, string, bool, None, list or mapping.

    >>> json_line({"kind": "step", "loss": float("nan")})
    '{"kind": "step", "loss": "NaN"}\\n'
    """
    return json.dumps({name: _strict(value, name) for name, value in record.items()}, allow_nan=False) + "\n"


def parsed_record(line: bytes) -> dict[str, Any] | None:
    """Parse a line that `json_line` wrote; return None if it is not a record, which is a JSON object with a "kind".

    >>> parsed_record(b'{"kind": "step", "loss": "NaN"}'), parsed_record(b'{"kind": "st')
    ({'kind': 'step', 'loss': nan}, None)
    """
    try:
        # UnicodeDecodeError and JSONDecodeError are ValueErrors; a deeply nested foreign line raises RecursionError.
        record = json.loads(line)
        if not isinstance(record, dict) or not isinstance(record.get("kind"), str):
            return None
        record = _readable(record) if HALF_CHARACTER in line.lower() else record
        return _restored(record) if any(name in line for name in _QUOTED_NON_FINITE) else record
    except (ValueError, RecursionError):
        return None


def step_of(record: Mapping[str, Any]) -> float | None:
    """Return the step of a record, or None if it has no "step" or one that is not a finite number."""
    step = logged_number(record.get("step"))
    return step if step is not None and math.isfinite(step) else None


def logged_number(value: Any) -> float | None:
    """Convert a value to float, including the names of non-finite numbers; return None if it is not a number.

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


# Most lines contain none of these names, and long logs have millions of numbers to check.
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
        f"{name} of a log record is {value!r}, a {type(value).__name__}, but it must be a number, string, bool, None, "
        "list or mapping. Call float() on a tensor or array with one element, and str() on a path."
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
