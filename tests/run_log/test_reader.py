"""Records: what a log holds, and what in it is none."""

import math
from pathlib import Path
from typing import Any

import pytest

from steadydecay.run_log.reader import LogFaults, read_log, records, records_over_steps
from steadydecay.run_log.record import logged_number


def read(tmp_path: Path, content: bytes) -> tuple[list[dict[str, Any]], LogFaults]:
    path, faults = tmp_path / "run.jsonl", LogFaults()
    path.write_bytes(content)
    return list(records_over_steps(path, faults)), faults


def test_whole_records_come_in_order(tmp_path: Path) -> None:
    lines = b'{"kind": "configuration", "seed": 1}\n{"kind": "step", "step": 1}\n{"kind": "step", "step": 2.0}\n'
    found, faults = read(tmp_path, lines)
    assert [one["kind"] for one in found] == ["configuration", "step", "step"]
    assert faults == LogFaults()


@pytest.mark.parametrize(
    "line",
    [
        b"Traceback (most recent call last):",
        b'{"kind": "step", "step": 1',
        b"[1, 2]",
        b"3",
        b"null",
        b'{"step": 1}',
        b'{"kind": 7, "step": 1}',
        b'{"kind": "step"}',
        b'{"kind": "step", "step": "one"}',
        b'{"kind": "step", "step": true}',
        b'{"kind": "step", "step": "NaN"}',
        b'{"kind": "step", "step": ' + b"9" * 400 + b"}",
        b"\xff\xfe\x00",
        b"[" * 100_000,
    ],
)
def test_foreign_lines_are_counted_and_left_out(tmp_path: Path, line: bytes) -> None:
    found, faults = read(tmp_path, b'{"kind": "step", "step": 1}\n' + line + b'\n{"kind": "step", "step": 2}\n')
    assert [one["step"] for one in found] == [1, 2]
    assert faults == LogFaults(foreign=1)


def test_an_unfinished_last_line_is_not_foreign(tmp_path: Path) -> None:
    found, faults = read(tmp_path, b'{"kind": "step", "step": 1}\n\n   \n{"kind": "st')
    assert len(found) == 1
    assert faults == LogFaults(is_cut_off=True)
    found, faults = read(tmp_path, b'{"kind": "step", "step": 1}')
    assert (len(found), faults) == (1, LogFaults())


def test_steps_rise_within_a_kind(tmp_path: Path) -> None:
    steps = [("step", 1), ("step", 3), ("validation", 2), ("step", 2), ("step", 3), ("step", 4)]
    lines = "".join(f'{{"kind": "{kind}", "step": {step}}}\n' for kind, step in steps)
    found, faults = read(tmp_path, lines.encode())
    assert [(one["kind"], one["step"]) for one in found] == [("step", 1), ("step", 3), ("validation", 2), ("step", 4)]
    assert faults == LogFaults(repeated=2)


def test_an_empty_log_is_no_fault(tmp_path: Path) -> None:
    assert read(tmp_path, b"") == ([], LogFaults())


def test_numbers_are_floats_or_the_names_of_what_is_not_finite() -> None:
    assert [logged_number(value) for value in (2, 2.5, "Infinity", "-Infinity")] == [2.0, 2.5, math.inf, -math.inf]
    assert math.isnan(logged_number("NaN") or 0.0)
    assert [logged_number(value) for value in ("2", "nan", None, True, [1], {}, 10**400)] == [None] * 7


def test_records_of_no_step_and_of_a_step_once_more_are_records_all_the_same(tmp_path: Path) -> None:
    lines = ['{"kind": "note"}', '{"kind": "step", "step": 2}', '{"kind": "step", "step": 1}', '{"kind": "step", "st']
    path, faults = tmp_path / "run.jsonl", LogFaults()
    path.write_text("\n".join(lines))
    whole = [{"kind": "note"}, {"kind": "step", "step": 2}, {"kind": "step", "step": 1}]
    assert list(records(path, faults)) == whole
    assert faults == LogFaults(is_cut_off=True)
    assert read_log(path).records == whole
