"""Gaps: what a log lacks is said, and nothing is said of a whole one."""

from pathlib import Path

import pytest

from report_logs import write_run
from steadydecay.report.gaps import gaps_of
from steadydecay.report.runs import load_run


def gaps(path: Path) -> list[str]:
    return gaps_of([load_run(path, "run")], [])


def log(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "run.jsonl"
    path.write_text("".join(line + "\n" for line in lines))
    return path


CONFIGURATION = '{"kind": "configuration", "optimizer": "scion", "steps": 2}'
STEP = '{"kind": "step", "step": %d, "loss": 1.0}'
WATCH = '{"kind": "watch", "step": 2, "layers": {"a": {"norm_ratio": 1.0}}}'
VALIDATION = '{"kind": "validation", "step": 2, "loss": 1.0}'
WHOLE = (CONFIGURATION, STEP % 1, STEP % 2, WATCH, VALIDATION)


def test_a_whole_log_has_no_gaps(tmp_path: Path) -> None:
    assert gaps(log(tmp_path, *WHOLE)) == []
    assert gaps(write_run(tmp_path / "run")) == []


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ((), "The log contains no step"),
        (WHOLE[1:], "no record of the configuration"),
        (('{"kind": "configuration", "seed": 1}', *WHOLE[1:]), "does not say how many steps were planned"),
        ((*WHOLE[:2], WATCH.replace("2", "1", 1), VALIDATION.replace("2", "1")), "1 of 2 steps are done"),
        (WHOLE[:4], "not evaluated on validation data"),
        ((*WHOLE[:3], VALIDATION), "no records of single layers"),
        ((*WHOLE, "Traceback", "x"), "2 lines of the log are not records"),
        ((*WHOLE, STEP % 1), "1 records repeat steps that the log already had"),
        (
            (CONFIGURATION, STEP % 1, STEP.replace("1.0", '"NaN"') % 2, WATCH, VALIDATION),
            "1 training losses are not finite",
        ),
        (
            (*WHOLE[:4], VALIDATION.replace("1.0", '"Infinity"')),
            "1 validation losses are not finite, the first at step 2",
        ),
        ((*WHOLE, '{"kind": "failure", "step": 2, "message": "boom"}'), "stopped with an error. step 2: boom"),
    ],
)
def test_each_gap_is_told(tmp_path: Path, lines: tuple[str, ...], sentence: str) -> None:
    found = gaps(log(tmp_path, *lines))
    assert any(sentence in gap for gap in found), found
    assert all(gap.startswith("run: ") for gap in found)


def test_a_line_that_is_being_written_is_told(tmp_path: Path) -> None:
    path = log(tmp_path, *WHOLE)
    path.write_bytes(path.read_bytes() + b'{"kind": "st')
    assert gaps(path) == ["run: The last line is cut off, because it is being written or its writer was stopped."]


def of_steps(*steps: int) -> tuple[str, ...]:
    return (CONFIGURATION.replace("2}", f"{steps[-1]}}}"), *(STEP % step for step in steps), WATCH, VALIDATION)


@pytest.mark.parametrize(
    ("steps", "missing"),
    [
        ([*range(1, 21), *range(41, 61)], "21 to 40"),
        ([*range(41, 61)], "1 to 40"),
        ([*range(1, 5), *range(9, 13)], "5 to 8"),
        ([1, 2, 3, 5, 6, 7, 9, 10, 11, 12], "4, 8"),
        ([*range(10, 210, 10), *range(300, 400, 10)], "210 to 290"),
    ],
)
def test_a_hole_in_the_steps_is_told(tmp_path: Path, steps: list[int], missing: str) -> None:
    assert gaps(log(tmp_path, *of_steps(*steps))) == [
        f"run: The log lacks steps {missing}. Lines are drawn across the gaps."
    ]


@pytest.mark.parametrize(
    "steps",
    [
        [1, 11, 21, 31],
        [0, 1, 2],
        [1, 2, 4, 8, 16, 32, 64],
        [*range(1, 101), *range(200, 3_000, 100)],
        [10, 20, 25],
        [7],
    ],
)
def test_who_logs_now_and_then_leaves_no_hole(tmp_path: Path, steps: list[int]) -> None:
    assert gaps(log(tmp_path, *of_steps(*steps))) == []


def test_panels_that_no_run_fills_are_named() -> None:
    assert gaps_of([], ["Sign norm"]) == ["No run logged this: Sign norm."]
