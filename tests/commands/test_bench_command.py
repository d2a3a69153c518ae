"""`steadydecay bench`: prints the table, writes the result, and says in one line what is wrong."""

import json
import re
from pathlib import Path

import pytest
import torch

from steadydecay.bench.peers import CONTESTANTS, Contestant, torch_muon
from steadydecay.bench.results import read_result
from steadydecay.bench.shape_sets import SHAPE_SETS, Entry, ShapeSet, matrices
from steadydecay.cli import main


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, one_cpu_thread: None) -> None:
    tiny = ShapeSet(2, matrices(up=(32, 16)), (Entry("tokens", (40, 16), "output"),))
    monkeypatch.setitem(SHAPE_SETS, "tiny", tiny)
    monkeypatch.setattr("steadydecay.bench.product_times.SIDES", {"cpu": (32,)})
    monkeypatch.setitem(CONTESTANTS, "absent", Contestant("no_such_package", torch_muon, "no-such-package"))


def test_a_run_prints_its_table_and_writes_its_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "step.json"
    options = ["--set", "tiny", "--only", "torch-muon", "abs*", "--repetitions", "2", "--threads", "1"]
    main(["bench", *options, "--out", str(out)])
    printed = capsys.readouterr()
    assert re.search(r"│ torch-muon +│", printed.out)
    assert "not measured: absent: ModuleNotFoundError: No module named 'no_such_package'" in printed.out
    assert f"result: {out}" in printed.out
    assert "repetition 2 of 2" in printed.err
    assert "repetition" not in printed.out
    result = read_result(out)
    assert [row.name for row in result.rows] == ["scionc", "torch-muon"]
    assert result.command == (
        "steadydecay bench --set tiny --repetitions 2 --device cpu --threads 1 --only torch-muon 'abs*'"
    )
    assert result.device["threads"] == 1
    assert json.loads(out.read_text())["shape_set"] == "tiny"


def test_the_recorded_command_repeats_the_run(tmp_path: Path) -> None:
    first, second = tmp_path / "1.json", tmp_path / "2.json"
    main(["bench", "--set", "tiny", "--only", "adamc", "--repetitions", "1", "--layers", "1", "--out", str(first)])
    command = read_result(first).command.removeprefix("steadydecay ").split()
    main([*command, "--out", str(second)])
    one, two = read_result(first), read_result(second)
    assert (one.command, one.layers, [row.name for row in one.rows]) == (
        two.command,
        two.layers,
        [row.name for row in two.rows],
    )
    assert one.layers == 1


def test_without_out_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["bench", "--set", "tiny", "--only", "lion", "--repetitions", "1"])
    assert list(tmp_path.iterdir()) == []
    assert "result:" not in capsys.readouterr().out


def test_threads_are_those_that_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    main(["bench", "--set", "tiny", "--only", "lion", "--repetitions", "1", "--threads", "3"])
    main(["bench", "--set", "tiny", "--only", "lion", "--repetitions", "1"])
    assert asked == [3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--device", "tpu"], "device is 'tpu'; it must be cpu or cuda"),
        (["--device", "cuda"], "device is 'cuda', but torch finds no GPU; use --device cpu, or a CUDA build of torch"),
        (["--threads", "0"], "threads is 0; it must be 1 or more"),
        (["--repetitions", "0"], "repetitions is 0; it must be 1 or more"),
        (["--layers", "-1"], "layers is -1; it must be 1 or more"),
        (["--set", "gpt3"], "set is 'gpt3'; it must be one of gpt-mini, .*"),
        (["--only", "x*y"], "only is 'x\\*y'; it must be one of scionc, .*"),
    ],
)
def test_a_mistake_is_one_line(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "step.json"
    with pytest.raises(SystemExit) as exit_:
        main(["bench", *options, "--out", str(out)])
    assert exit_.value.code == 2
    assert re.fullmatch(f"steadydecay: {message}\n", capsys.readouterr().err)
    assert not out.exists()


def test_the_help_names_the_sets(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["bench", "--help"])
    shown = " ".join(re.sub("[│╭╮╰╯─]", " ", capsys.readouterr().out).split())
    assert all(name in shown for name in SHAPE_SETS if name != "tiny")
