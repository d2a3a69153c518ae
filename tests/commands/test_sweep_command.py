"""`steadydecay sweep` as a command line: what it means, what it refuses, and what it shows before it trains."""

import re
import shutil
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from steadydecay.cli import main
from steadydecay.recipes.recipe import Recipe
from steadydecay.sweeps.sweep_tables import write_sweep
from sweep_rows import row

TINY = ("layers=1", "width=32", "heads=1", "length=16", "batch_size=4", "evaluation_batches=2", "precision=float32")
pytestmark = pytest.mark.usefixtures("one_cpu_thread")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small text in the current folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(Path(sysconfig.get_paths()["stdlib"]) / "ast.py", "text.py")


def recipes_of(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> list[Recipe]:
    """The trials of a command line, which are not run."""
    found: list[Recipe] = []

    def stop(recipes: Any, *_: Any, **__: Any) -> None:
        found.extend(recipes)
        raise KeyboardInterrupt

    monkeypatch.setattr("steadydecay.commands.sweep.run_sweep", stop)
    monkeypatch.setattr("steadydecay.commands.sweep.seconds_of_all", lambda *_: 1.0)
    with pytest.raises(SystemExit):
        main(["sweep", *arguments])
    return found


def test_a_grid_meets_optimizers_and_seeds_and_what_is_there_twice_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = ["--grid", "lr=0.01,2e-2,1E-2", "--grid", "clip=none,1"]
    found = recipes_of(monkeypatch, "gpt", "--optimizers", "scion,adamw", *grid, "momentum=0.8", "--seed", "0", "5")
    assert [(one.lr, one.clip, one.optimizer, one.seed) for one in found] == [
        (lr, clip, optimizer, seed)
        for lr in (0.01, 0.02)
        for clip in (None, 1.0)
        for optimizer in ("scion", "adamw")
        for seed in (0, 5)
    ]
    assert {one.momentum for one in found} == {0.8}


def test_a_list_names_whole_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("list.csv").write_text("optimizer,size,lr,seed\nadamw,small,,3\n,,0.5,\n")
    found = recipes_of(monkeypatch, "gpt", "--list", "list.csv", "--seed", "0", "1")
    assert [(one.optimizer, one.size, one.lr, one.seed) for one in found] == [
        ("adamw", "small", 1e-3, 3),
        ("scionc", "mini", 0.5, 0),
        ("scionc", "mini", 0.5, 1),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gpt", "--grid", "lrr=1"], "override names 'lrr', which is not a field; did you mean 'lr'?"),
        (["gpt", "--grid", "lr=low"], "override lr is 'low'; it must be of type float"),
        (["gpt", "--grid", "lr=0.1,-1"], "lr is -1.0; it must be in (0, inf)"),
        (["gpt", "--grid", "lr=0.1", "lr=0.2"], "lr is swept, but another argument gives it a single value"),
        (["gpt", "--grid", "steps=1,2", "--steps", "3"], "steps is swept, but another argument"),
        (["gpt", "--grid", "optimizer=scion", "--optimizers", "adamw"], "optimizer is swept, but another"),
        (["gpt", "--grid", "size=mini,huge"], "size is 'huge'; it must be one of mini, small, 124m"),
        (["gpt", "--grid", "seed=a"], "seed is 'a'; it must be a whole number"),
        (["gpt", "--optimizers", "scionx"], "optimizer is 'scionx'; did you mean 'scion"),
        (["gpt", "--list", "none.csv"], "No such file or directory: 'none.csv'"),
        (["gpt", "--data", "none"], "data is 'none', which does not exist"),
        (["gpt", "--processes", "0"], "processes is 0; it must be 1 or more"),
        (["gpt", "--gpus-per-trial", "1"], "gpus_per_trial is 1.0, but it belongs to --ray"),
        (["gpt", "--ray", "auto", "--cpus-per-trial", "0"], "cpus_per_trial is 0; it must be 1 or more"),
        (["gpt", "--ray", "auto", "--gpus-per-trial", "-1"], "gpus_per_trial is -1.0; it must be 0 or more"),
        (["gpt", "--ray", "here"], "ray is 'here'; it must be auto or HOST:PORT, such as 10.0.0.1:6379"),
        (["gpt", "--ray", "h:99999"], "ray is 'h:99999'; it must be auto or HOST:PORT"),
        (["gpt", "--ray", "127.0.0.1:1"], "ray is '127.0.0.1:1', but nothing answers there ("),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(Path().rglob("*"))
    with pytest.raises(SystemExit) as stop:
        main(["sweep", *arguments])
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize(
    ("module", "arguments"), [("pyarrow", ["sweep", "gpt"]), ("ray", ["sweep", "gpt", "--ray", "auto"])]
)
def test_what_is_not_installed_is_named_with_its_remedy(
    module: str, arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("table_files", "ray_cluster"):
        monkeypatch.setattr(f"steadydecay.sweeps.{name}.find_spec", lambda wanted: None if wanted == module else True)
    with pytest.raises(SystemExit):
        main(arguments)
    assert "not installed; run pip install 'steadydecay[sweep]'" in capsys.readouterr().err


def test_no_cluster_on_this_machine_is_said_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    def init(*_: Any, **__: Any) -> None:
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(SystemExit):
        main(["sweep", "gpt", "--ray", "auto"])
    err = capsys.readouterr().err
    assert "ray is 'auto', but no cluster answers there (Could not find any running Ray instance.); start one" in err


def test_a_dry_run_shows_the_trials_and_the_time_and_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(Path().rglob("*"))
    options = ["--data", "text.py", "--steps", "10", "--grid", "lr=0.01,0.02", "--seed", "0", "1", "2"]
    main(["sweep", "gpt", *TINY, *options, "--processes", "2", "--dry-run"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["lr: 0.01, 0.02", "optimizer: scionc", "seed: 0, 1, 2"]
    assert re.match(
        r"6 trials\. The remaining training steps will take about 0:00:\d\d with 2 trials at a time here\.", lines[3]
    )
    assert sorted(Path().rglob("*")) == before


def test_failed_trials_end_the_command_with_2_after_its_tables(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = [row({"lr": "1"}, 0, 1.0), row({"lr": "2"}, 0, status="failed", message="no such file")]
    monkeypatch.setattr("steadydecay.commands.sweep.run_sweep", lambda *_, **__: trials)
    monkeypatch.setattr("steadydecay.commands.sweep.seconds_of_all", lambda *_: 1.0)
    Path("out").mkdir()
    with pytest.raises(SystemExit) as stop:
        main(["sweep", "gpt", "--out", "out"])
    assert stop.value.code == 2
    shown = capsys.readouterr()
    assert "The sweep has 2 trials: 1 finished, 1 failed.\nreport: out/report.html\n" in shown.out
    assert shown.err.startswith(
        "steadydecay: 1 of 2 trials failed. The first of them is scionc-2-0 at attempt 1 (no such"
    )


def test_report_reads_a_sweep_s_folder(capsys: pytest.CaptureFixture[str]) -> None:
    Path("sweep").mkdir()
    trials = [
        row({"lr": lr, "clip": clip}, seed, float(lr) + float(clip) + seed / 100, top1=1 - float(lr))
        for lr in ("0.1", "0.2")
        for clip in ("1", "2")
        for seed in (0, 1)
    ]
    write_sweep(trials, Path("sweep"))
    main(["report", "sweep", "--out", "a.html"])
    shown = capsys.readouterr().out
    assert re.search(r"clip \\ lr +0\.1 +0\.2\n1 +1\.1050 ± 0\.0071 +1\.2050 ± 0\.0071", shown)
    assert "The best setting is optimizer=scionc lr=0.1 clip=1, with a mean validation" in shown
    assert shown.splitlines()[-1] == "report: a.html"
    main(["report", "sweep", "--over", "lr", "--measure", "top1", "--out", "a.html"])
    shown = capsys.readouterr().out
    assert re.search(r"ScionC accuracy, means over clip\nlr +0\.1 +0\.2 *\n +0\.9000 +0\.8000", shown)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sweep", "--over", "clip"], "over names 'clip', which is not a swept field"),
        (["sweep", "--measure", "top5"], "measure is 'top5'; it must be one of val_loss, top1"),
        (["sweep", "--measure", "top1"], "measure is 'top1', but no trial of this sweep measured it"),
        (["sweep", "--follow"], "follow is given for a sweep, whose report is one page and a table"),
        (["sweep", "--figure", "a.svg"], "figure is given for a sweep"),
        (["sweep", "other"], "2 folders are given, but one of them is that of a sweep; report on it alone"),
        (["other", "--over", "lr"], "over is given for runs, but only a sweep has a map; leave it out"),
    ],
)
def test_what_does_not_fit_a_sweep_s_report_is_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("sweep").mkdir()
    Path("other").mkdir()
    write_sweep([row({"lr": "1"}, 0, 1.0)], Path("sweep"))
    with pytest.raises(SystemExit):
        main(["report", *arguments])
    assert message in capsys.readouterr().err
    assert not Path("report.html").exists()
