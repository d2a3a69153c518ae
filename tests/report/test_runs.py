"""A run as series, from logs as training writes them."""

import math
from pathlib import Path
from typing import Any

import pytest

from steadydecay.report.runs import Run, load_all, load_run, load_runs
from steadydecay.report.series import Series
from steadydecay.run_log.writer import RunLog

CONFIGURATION = {"optimizer": "scion", "seed": 1, "steps": 4}


def write_log(folder: Path, records: list[dict[str, Any]], configuration: dict[str, Any] = CONFIGURATION) -> Path:
    path = folder / "run.jsonl"
    with RunLog.open(path, configuration=configuration, resume_step=None) as log:
        for record in records:
            log.write(**record)
    return path


def step(number: int, **fields: Any) -> dict[str, Any]:
    return {"kind": "step", "step": number, "loss": 4.0 / number, **fields}


def run_of(tmp_path: Path, records: list[dict[str, Any]], configuration: dict[str, Any] = CONFIGURATION) -> Run:
    return load_run(write_log(tmp_path / "run", records, configuration), "run")


def pairs(series: Series) -> list[tuple[float, float]]:
    return list(zip(series.steps.tolist(), series.values.tolist(), strict=True))


def test_a_run_is_its_name_configuration_and_series(tmp_path: Path) -> None:
    records = [
        step(1, weight_norm={"output": 9.0, "hidden": 10.0}, seconds=0.5),
        step(2, weight_norm={"output": 9.5, "hidden": 11.0}, seconds=0.25),
        {"kind": "validation", "step": 2, "loss": 3.0},
        {"kind": "failure", "step": 3, "loss": 77.0, "message": "loss is NaN"},
    ]
    run = run_of(tmp_path, records)
    assert (run.name, run.optimizer, run.configuration) == ("run", "scion", CONFIGURATION)
    assert pairs(run.loss) == [(1, 4.0), (2, 2.0)]
    assert pairs(run.validation_loss) == [(2, 3.0)]
    assert pairs(run.of_role("weight_norm", "hidden")) == [(1, 10.0), (2, 11.0)]
    assert pairs(run.of_role("weight_norm", "output")) == [(1, 9.0), (2, 9.5)]
    assert pairs(run.series["step", "seconds", ""]) == [(1, 0.5), (2, 0.25)]
    assert (run.steps_done, run.steps_planned, run.failure) == (2, 4, "step 3: loss is NaN")
    assert (run.roles(), run.main_role) == (["output", "hidden"], "hidden")


def test_the_monitor_s_records_are_read_by_role_and_by_layer(tmp_path: Path) -> None:
    def watch(number: int, ratio: float, verdict: str) -> dict[str, Any]:
        layer = {"norm_ratio": ratio, "weight_norm": 2.0, "tuc": 5.0}
        groups = {"hidden": {"rotation": ratio / 10, "weight_norm": 7.0}}
        return {"kind": "watch", "step": number, "layers": {"a": layer}, "groups": groups, "verdicts": {"a": verdict}}

    run = run_of(tmp_path, [step(1), watch(1, 0.5, "rising"), step(2), watch(2, 0.75, "steady"), step(3)])
    assert {name: pairs(series) for name, series in run.of_layers("norm_ratio").items()} == {"a": [(1, 0.5), (2, 0.75)]}
    assert run.of_layers("tuc") == {}, "not needed, and many"
    assert pairs(run.of_group("rotation", "hidden")) == [(1, 0.05), (2, 0.075)]
    assert pairs(run.of_role("weight_norm", "hidden")) == [(1, 7.0), (2, 7.0)], "the monitor's where no step has it"
    assert run.verdicts == {"a": "steady"}


def test_what_each_step_logged_wins_over_the_monitor(tmp_path: Path) -> None:
    watch = {"kind": "watch", "step": 1, "groups": {"hidden": {"weight_norm": 7.0}}}
    run = run_of(tmp_path, [step(1, weight_norm={"hidden": 3.0}), watch])
    assert pairs(run.of_role("weight_norm", "hidden")) == [(1, 3.0)]


def test_what_a_run_did_not_log_is_an_empty_series(tmp_path: Path) -> None:
    run = run_of(tmp_path, [step(1), step(2, weight_norm={"output": 1.0}), step(3, weight_norm=5.0)], configuration={})
    assert (run.optimizer, run.verdicts, run.failure) == ("", {}, "")
    assert len(run.validation_loss) == len(run.of_role("weight_norm", "hidden")) == 0
    assert run.steps_planned == run.steps_done == 3
    assert run.main_role == "output", "no role has the name hidden"


@pytest.mark.parametrize(
    "watch",
    [
        {},
        {"layers": 3, "groups": [1], "verdicts": "x"},
        {"layers": {"a": 3}, "groups": {"hidden": None}, "verdicts": {}},
        {"layers": {"a": {"norm_ratio": "high"}}, "groups": {"hidden": {"rotation": [1]}}},
    ],
)
def test_a_strange_record_of_the_monitor_is_no_error(tmp_path: Path, watch: dict[str, Any]) -> None:
    run = run_of(tmp_path, [step(1), {"kind": "watch", "step": 1, **watch}])
    assert run.of_layers("norm_ratio") == {}
    assert len(run.of_group("rotation", "hidden")) == 0


@pytest.mark.parametrize("steps", ["many", None, "NaN", "Infinity", -3, 0])
def test_a_strange_number_of_planned_steps_counts_as_none(tmp_path: Path, steps: Any) -> None:
    assert run_of(tmp_path, [step(1), step(2)], {"steps": steps, "optimizer": 7}).steps_planned == 2


def test_numbers_that_are_not_finite_stay(tmp_path: Path) -> None:
    run = run_of(tmp_path, [step(1, predicted_norm={"hidden": math.inf}), step(2, loss=math.nan)])
    assert pairs(run.of_role("predicted_norm", "hidden")) == [(1, math.inf)]
    assert math.isnan(run.loss.values[1])


def test_a_log_without_anything_is_a_run_without_anything(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text("")
    run = load_run(path, "run")
    assert (run.configuration, run.series, run.steps_done, run.steps_planned) == ({}, {}, 0, 0)
    assert (run.roles(), run.main_role) == ([], "hidden")


def test_all_runs_below_a_folder_come_by_name(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        write_log(tmp_path / name, [step(1)])
    (tmp_path / "notes").mkdir()
    write_log(tmp_path, [step(1)])
    assert [run.name for run in load_runs(tmp_path)] == ["a", "b", "c"]
    assert [run.name for run in load_all([tmp_path / "c", tmp_path / "a"])[0]] == ["c", "a"]
    assert load_all([tmp_path / "c", tmp_path / "notes"])[1] == [
        f"{tmp_path / 'notes'} does not contain a run.jsonl yet"
    ]


@pytest.mark.parametrize("name", ["", "absent"])
def test_a_folder_without_runs_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        ValueError, match=rf"folder is .*{name}, which contains no \*/run\.jsonl; give the --out of a comp"
    ):
        load_runs(tmp_path / name)
