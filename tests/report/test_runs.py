"""Runs of a folder as series, from logs as training writes them."""

import math
from pathlib import Path
from typing import Any

import pytest

from steadydecay.recipes.run_log import RunLog
from steadydecay.report.runs import load_run, load_runs, smoothed

CONFIGURATION = {"optimizer": "scion", "seed": 1, "steps": 4}


def write_run(folder: Path, records: list[dict[str, Any]], configuration: dict[str, Any] = CONFIGURATION) -> Path:
    path = folder / "run.jsonl"
    with RunLog.open(path, configuration=configuration, resume_step=None) as log:
        for record in records:
            log.write(**record)
    return path


def step(number: int, **fields: Any) -> dict[str, Any]:
    return {"kind": "step", "step": number, "loss": 4.0 / number, **fields}


def test_a_run_is_its_name_configuration_and_series(tmp_path: Path) -> None:
    measures = ("weight_norm", "predicted_norm", "gradient_norm", "decay", "lr")
    values = [
        {measure: {"output": 9.0, "hidden": 10.0 * n + i} for i, measure in enumerate(measures)} for n in (1, 2, 3)
    ]
    records = [
        step(1, **values[0]),
        step(2, **values[1], layers={"a": 0.5, "b": 1.5}),
        {"kind": "validation", "step": 2, "loss": 3.0},
        step(3, **values[2], layers={"a": 0.75, "b": 1.25}),
        {"kind": "failure", "step": 4, "loss": 77.0, "message": "step 4: ..."},
    ]
    run = load_run(write_run(tmp_path / "scion-seed1", records))
    assert (run.name, run.optimizer, run.configuration) == ("scion-seed1", "scion", CONFIGURATION)
    assert run.loss == ([1, 2, 3], [4.0, 2.0, 4.0 / 3])
    assert run.validation_loss == ([2], [3.0])
    assert run.hidden == {name: ([1, 2, 3], [10.0 + i, 20.0 + i, 30.0 + i]) for i, name in enumerate(measures)}
    assert run.layers == {"a": ([2, 3], [0.5, 0.75]), "b": ([2, 3], [1.5, 1.25])}


def test_what_a_run_did_not_log_is_an_empty_series(tmp_path: Path) -> None:
    records = [
        step(1),
        step(2, weight_norm={"output": 1.0}),
        step(3, weight_norm={"hidden": 2}),
        step(4, weight_norm=5.0),
    ]
    run = load_run(write_run(tmp_path / "run", records, configuration={}))
    assert run.optimizer == "unknown"
    assert run.validation_loss == ([], [])
    assert run.layers == {}
    assert run.hidden["weight_norm"] == ([3], [2.0])
    assert run.hidden["lr"] == ([], [])


def test_numbers_that_are_not_finite_stay(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path / "run", [step(1, predicted_norm={"hidden": math.inf}), step(2, loss=math.nan)]))
    assert run.hidden["predicted_norm"] == ([1], [math.inf])
    assert math.isnan(run.loss[1][1])


def test_a_log_that_was_cut_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", [step(number) for number in (1, 2, 3)])
    path.write_bytes(path.read_bytes()[:-5])
    assert load_run(path).loss[0] == [1, 2]


def test_all_runs_below_a_folder_come_by_name(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        write_run(tmp_path / name, [step(1)])
    (tmp_path / "notes").mkdir()
    write_run(tmp_path, [step(1)])
    assert [run.name for run in load_runs(tmp_path)] == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["", "absent"])
def test_a_folder_without_runs_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        ValueError, match=rf"folder is .*{name}, which holds no \*/run\.jsonl; give the --out of a comp"
    ):
        load_runs(tmp_path / name)


def test_smoothing_is_the_mean_of_the_last_values() -> None:
    series = ([3, 4, 5, 9], [1.0, 3.0, 8.0, 4.0])
    assert smoothed(series, 1) == smoothed(series, 0) == series
    assert smoothed(series, 2) == ([3, 4, 5, 9], [1.0, 2.0, 5.5, 6.0])
    assert smoothed(series, 3) == ([3, 4, 5, 9], [1.0, 2.0, 4.0, 5.0])
    assert smoothed(series, 100) == ([3, 4, 5, 9], [1.0, 2.0, 4.0, 4.0])
    assert smoothed(([], []), 5) == ([], [])
