"""Run logs on a real disk: strict JSON, resumed where the checkpoint was, readable when cut off."""

import json
import math
import os
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from steadydecay.run_log.reader import LogContents, read_log
from steadydecay.run_log.record import NON_FINITE, json_line
from steadydecay.run_log.writer import RunLog

CONFIGURATION = {"model": "gpt", "width": 64, "betas": [0.9, 0.95], "nested": {"seed": None}}


def strict(line: str) -> Any:
    def refuse(constant: str) -> NoReturn:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(line, parse_constant=refuse)


def write_steps(path: Path, *steps: int, resume_step: int | None = None) -> None:
    with RunLog.open(path, configuration=CONFIGURATION, resume_step=resume_step) as log:
        for step in steps:
            log.write("step", step=step, loss=step / 2)


def steps_in(path: Path) -> list[int]:
    return [record["step"] for record in read_log(path).records]


def test_a_log_starts_with_the_configuration_and_holds_a_record_a_line(tmp_path: Path) -> None:
    path = tmp_path / "made" / "here" / "log.jsonl"
    write_steps(path, 0, 1)
    lines = [strict(line) for line in path.read_text().splitlines()]
    assert lines == [
        {"kind": "configuration", **CONFIGURATION},
        {"kind": "step", "step": 0, "loss": 0.0},
        {"kind": "step", "step": 1, "loss": 0.5},
    ]
    assert read_log(path) == LogContents(CONFIGURATION, lines[1:], 0)
    assert list(path.parent.iterdir()) == [path]


def test_each_record_is_on_disk_before_the_next(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = RunLog.open(path, configuration={}, resume_step=None)
    assert path.read_text() == '{"kind": "configuration"}\n'
    log.write("validation", loss=1.5)
    assert read_log(path).records == [{"kind": "validation", "loss": 1.5}]
    log.close()
    with pytest.raises(ValueError, match="closed"):
        log.write("validation", loss=1.5)


def test_the_context_manager_closes_also_after_an_error(tmp_path: Path) -> None:
    log = RunLog.open(tmp_path / "log.jsonl", configuration={}, resume_step=None)
    with pytest.raises(KeyError), log:
        raise KeyError
    with pytest.raises(ValueError, match="closed"):
        log.write("step")


def test_a_new_run_replaces_an_older_log(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    write_steps(path, 0, 1, 2)
    write_steps(path, 0)
    assert steps_in(path) == [0]


def test_a_resumed_log_drops_what_the_run_will_write_again(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with RunLog.open(path, configuration=CONFIGURATION, resume_step=None) as log:
        for step in range(6):
            log.write("step", step=step)
            log.write("validation", step=step, loss=float("nan"))
        log.write("note", text="no step")
    before = path.read_text().splitlines(keepends=True)
    with RunLog.open(path, configuration={"model": "other"}, resume_step=3) as log:
        log.write("step", step=4, second=True)
    after = path.read_text().splitlines(keepends=True)
    assert after == [*before[:9], before[-1], '{"kind": "step", "step": 4, "second": true}\n']
    assert read_log(path).configuration == CONFIGURATION
    assert list(tmp_path.iterdir()) == [path]


def test_a_resumed_log_drops_a_last_line_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    write_steps(path, 0, 1)
    whole = path.read_text()
    for cut in range(1, len(whole.splitlines()[-1])):
        path.write_text(whole[: -1 - cut])
        write_steps(path, 1, resume_step=5)
        assert read_log(path).skipped_lines == 0
        assert path.read_text() == whole


def test_a_resumed_log_keeps_a_whole_last_line_without_its_end(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    write_steps(path, 0, 1)
    path.write_text(path.read_text()[:-1])
    write_steps(path, 2, resume_step=1)
    assert steps_in(path) == [0, 1, 2]


def test_a_resumed_log_keeps_foreign_lines(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    write_steps(path, 0)
    with path.open("ab") as file:
        file.write(b'\xff foreign\n[1]\n{"kind": "step", "step": 9}\n')
    write_steps(path, 1, resume_step=0)
    assert b"\xff foreign\n[1]\n" in path.read_bytes()
    assert steps_in(path) == [0, 1]
    assert read_log(path).skipped_lines == 2


def test_a_resumed_log_keeps_records_whose_step_is_no_number(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    write_steps(path, 0)
    kept = '{"kind": "a"}\n{"kind": "b", "step": "Infinity"}\n{"kind": "c", "step": true}\n{"kind": "d", "step": "9"}\n'
    with path.open("a") as file:
        file.write(kept + '{"kind": "e", "step": 1.5}\n')
    write_steps(path, 1, resume_step=0)
    assert kept in path.read_text() and '"e"' not in path.read_text()


@pytest.mark.parametrize("content", [None, "", '{"kind": "configur', '{"kind": "step", "step": 1}\n'])
def test_a_resumed_log_without_a_configuration_gets_one(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "log.jsonl"
    if content is not None:
        path.write_text(content)
    write_steps(path, 2, resume_step=1)
    assert strict(path.read_text().splitlines()[0]) == {"kind": "configuration", **CONFIGURATION}
    assert steps_in(path) == ([1, 2] if content and "step" in content else [2])


def test_non_finite_numbers_are_strict_json_and_come_back(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with RunLog.open(path, configuration={"clip": math.inf}, resume_step=None) as log:
        log.write("step", loss=math.nan, norms=[math.inf, (-math.inf, 1.0)], groups={"hidden": math.nan})
    lines = [strict(line) for line in path.read_text().splitlines()]
    assert lines[1] == {
        "kind": "step",
        "loss": "NaN",
        "norms": ["Infinity", ["-Infinity", 1.0]],
        "groups": {"hidden": "NaN"},
    }
    configuration, (record,), _ = read_log(path)
    assert configuration == {"clip": math.inf}
    assert math.isnan(record["loss"]) and math.isnan(record["groups"]["hidden"])
    assert record["norms"] == [math.inf, [-math.inf, 1.0]]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text().filter(lambda text: text not in NON_FINITE),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, derandomize=True)
@given(fields=st.dictionaries(st.text().filter(lambda name: name != "kind"), VALUES, max_size=5))
def test_every_record_is_one_line_and_comes_back(
    fields: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    line = json_line({"kind": "step", **fields})
    assert line.endswith("\n") and len(line.splitlines()) == 1
    strict(line)
    path = tmp_path_factory.getbasetemp() / "one.jsonl"
    path.write_text(line)
    assert read_log(path).records == [{"kind": "step", **fields}]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            torch.ones(()),
            r"loss of a log record is tensor\(1\.\), a Tensor, but it must be a number.*\. Call float\(\)",
        ),
        ([1, Path("x")], r"loss\[1\] of a log record is PosixPath\('x'\), a PosixPath"),
        ({"a": {1}}, r"loss\.a of a log record is \{1\}, a set"),
    ],
)
def test_a_value_that_json_cannot_hold_is_named(tmp_path: Path, value: object, message: str) -> None:
    path = tmp_path / "log.jsonl"
    with RunLog.open(path, configuration={}, resume_step=None) as log:
        with pytest.raises(TypeError, match=message):
            log.write("step", loss=value)
        log.write("step", loss=1)
    assert read_log(path) == LogContents({}, [{"kind": "step", "loss": 1}], 0)


def test_a_configuration_that_cannot_be_written_leaves_the_older_log(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    write_steps(path, 0, 1)
    with pytest.raises(TypeError, match=r"folder of a log record is PosixPath"):
        RunLog.open(path, configuration={"folder": Path("x")}, resume_step=None)
    with pytest.raises(ValueError, match=r'configuration has the name "kind", which every record uses'):
        RunLog.open(path, configuration={"kind": "gpt"}, resume_step=None)
    assert steps_in(path) == [0, 1]


def test_a_log_that_cannot_be_replaced_leaves_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.mkdir()
    with pytest.raises(OSError):
        RunLog.open(path, configuration={}, resume_step=None)
    assert list(tmp_path.iterdir()) == [path]


def test_reading_skips_and_counts_foreign_and_cut_off_lines(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    foreign = [b"plain text", b'{"no": "kind"}', b'{"kind": 3}', b"[1, 2]", b"\xff\xfe", b"[" * 100_000]
    kept = b'{"kind": "step", "step": 1}'
    path.write_bytes(b"\n".join([*foreign, kept, b"", b"  ", b'{"kind": "step", "st']))
    assert read_log(path) == LogContents({}, [{"kind": "step", "step": 1}], len(foreign) + 1)


def test_the_first_configuration_counts(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    second = {"kind": "configuration", "a": 2}
    path.write_text('{"kind": "configuration", "a": 1}\n' + json_line(second))
    assert read_log(path) == LogContents({"a": 1}, [second], 0)


def test_an_empty_log_has_no_configuration_and_a_missing_one_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    assert read_log(tmp_path / "empty.jsonl") == LogContents({}, [], 0)
    with pytest.raises(FileNotFoundError, match=r"absent\.jsonl"):
        read_log(tmp_path / "absent.jsonl")


def test_a_full_disk_names_the_log_and_closing_does_not_hide_it() -> None:
    full = Path("/dev/full").open("w")  # noqa: SIM115
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"), RunLog(full) as log:
        log.write("step", step=1)


def test_records_are_durable_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.jsonl"
    with RunLog.open(path, configuration={}, resume_step=None) as log:
        log.write("step", step=1)
        synced: list[int] = []
        monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino))
        log.sync()
        assert synced == [path.stat().st_ino]


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_log_that_would_never_end_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "log.jsonl"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    with pytest.raises(ValueError, match=r"log\.jsonl is a .*, but it must be a regular file"):
        RunLog.open(path, configuration={}, resume_step=3)
    with pytest.raises(ValueError, match=r"log\.jsonl is a .*, but it must be a regular file"):
        read_log(path)
