"""`steadydecay reproduce NAME`: trains, judges, prints and writes; reuses what is there; refuses what it cannot do."""

import csv
import json
import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from steadydecay.cli import main
from steadydecay.commands import reproduce as command
from steadydecay.experiments import reproduction
from steadydecay.experiments.named_experiments import EXPERIMENTS
from steadydecay.trials.run_trials import TrialEnd
from steadydecay.trials.trial_folder import Ending

TINY = ["steps=8", "layers=1", "width=16", "heads=1", "length=16", "batch_size=2", "evaluation_batches=1"]


@pytest.fixture(autouse=True)
def one_thread(one_cpu_thread: None) -> None:
    """Tests run side by side."""


def test_the_names_on_the_command_line_are_those_of_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["reproduce", "--help"])
    names = re.search(r"\{([\w,\s│]+)\}", capsys.readouterr().out)
    assert names
    assert re.sub(r"[\s│]", "", names.group(1)).split(",") == [*EXPERIMENTS, "all"]


def test_an_experiment_trains_judges_writes_and_is_reused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = [replace(part, seeds=2) for part in EXPERIMENTS["fig4"].parts]
    monkeypatch.setitem(command.EXPERIMENTS, "fig4", replace(EXPERIMENTS["fig4"], parts=parts))
    options = ["reproduce", "fig4", *TINY, "--out", str(tmp_path / "results"), "--runs", str(tmp_path / "runs")]
    main(options)
    folder = tmp_path / "results" / "fig4" / "embedded-changed"
    found = json.loads((folder / "verdict.json").read_text())
    assert found["name"] == "fig4" and found["scale"] == "embedded" and found["runs"] == 4
    assert found["verdict"] in ("reproduced", "not reproduced", "inconclusive")
    assert all(criterion.quantity in found["rule"] for part in parts for criterion in part.criteria.values())
    assert {len(one["values"]) for one in found["numbers"].values()} == {2}
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")
    lines = list(csv.DictReader((folder / "figure.csv").open()))
    assert {line["line"] for line in lines} == {"Scion", "ScionC"}
    assert [row[0] for row in csv.reader((folder / "table.csv").open())] == ["optimizer", "Scion", "ScionC"]
    shown = capsys.readouterr()
    assert f"verdict: {found['verdict']}" in shown.out and "4/4" in shown.err

    logs = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("run.jsonl")}
    main(options)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("run.jsonl")} == logs
    again = json.loads((folder / "verdict.json").read_text())
    assert again == found


def test_results_of_another_version_are_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for content in ('{"version": 99}', "{", "[]"):
        path = tmp_path / "fig7" / "embedded" / "verdict.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        with pytest.raises(SystemExit):
            main(["reproduce", "fig7", "--out", str(tmp_path), "--runs", str(tmp_path / "runs")])
        assert "this release writes version 1 of the results. Move that folder away" in capsys.readouterr().err
        assert path.read_text() == content


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["fig4", "stepz=3"], r"override names 'stepz', which is not a field; did you mean 'steps'\?"),
        (["fig4", "steps=0"], r"steps is 0; it must be in \[1, inf\).*"),
        (["fig4", "--scale", "paper"], r"data is missing; at the paper's scale, fig4 needs the data of gpt \(--data\)"),
        (["fig4", "--processes", "0"], r"processes is 0; it must be in \[1, inf\).*"),
        (["fig4", "--runs", "file"], r".*file.*"),
        (
            ["fig4", "--out", "file"],
            r"the results cannot be written to file/fig4/embedded, because file is not a folder .*",
        ),
    ],
)
def test_a_mistake_is_one_line(
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(SystemExit) as exit_:
        main(["reproduce", *options])
    assert exit_.value.code == 2
    assert re.fullmatch(f"steadydecay: {message}\n", capsys.readouterr().err)
    assert sorted(tmp_path.iterdir()) == [tmp_path / "file"]


def test_an_unknown_experiment_shows_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["reproduce", "fig99"])
    assert "fig7" in capsys.readouterr().err


def test_without_a_trained_run_earlier_results_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Data of one's own have no verdict of the embedded scale, either."""
    monkeypatch.setattr(
        reproduction, "run_trials", lambda recipes, *_, **__: [TrialEnd(recipes[0], tmp_path, Ending("failed", "why"))]
    )
    verdict = tmp_path / "fig4" / "embedded-changed" / "verdict.json"
    verdict.parent.mkdir(parents=True)
    verdict.write_text('{"version": 1}')
    with pytest.raises(SystemExit):
        main(["reproduce", "fig4", "--data", "nowhere", "--out", str(tmp_path), "--runs", str(tmp_path / "runs")])
    assert "none of the 1 runs of fig4 could be trained" in (shown := capsys.readouterr().err)
    assert shown.endswith("The first one failed because: why\n") and verdict.read_text() == '{"version": 1}'


def test_results_on_data_of_ones_own_are_kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders: list[Path] = []
    monkeypatch.setattr(reproduction, "_require_own_version", folders.append)
    monkeypatch.setattr(reproduction, "_require_writable", lambda folder: 1 / 0)
    for scale in ("embedded", "paper"):
        with pytest.raises(ZeroDivisionError):
            place = reproduction.Place(tmp_path, tmp_path)
            told = nullcontext(print)
            reproduction.reproduce("fig4", EXPERIMENTS["fig4"], scale, place, lambda _, told=told: told, {"data": "x"})
    assert [folder.name for folder in folders] == ["embedded-changed", "paper"]
