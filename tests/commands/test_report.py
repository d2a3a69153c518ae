"""`steadydecay report`: the page, the picture, the live view, and one line for each mistake."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from control_c import take_control_c
from report_logs import write_run
from steadydecay.cli import main

INSTALLED = Path(sys.executable).with_name("steadydecay")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs in the current folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("scion", "scionc"):
        write_run(Path("runs") / f"{name}-seed0", name, steps=60)


def test_the_page_is_written_and_its_place_printed(capsys: pytest.CaptureFixture[str]) -> None:
    main(["report", "runs", "--out", "out/page.html"])
    assert capsys.readouterr().out == "report: out/page.html\n"
    page = Path("out/page.html").read_text(encoding="utf-8")
    assert "scion-seed0" in page and "scionc-seed0" in page
    assert [path.name for path in Path("out").iterdir()] == ["page.html"]


def test_png_draws_the_panels_beside_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    main(["report", "runs/scion-seed0", "runs/scionc-seed0/run.jsonl", "--png"])
    assert capsys.readouterr().out == "report: report.html\npicture: report.png\n"
    assert Path("report.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("name", "start"), [("a.png", b"\x89PNG"), ("b/c.svg", b"<?xml"), ("d.PDF", b"%PDF")])
def test_a_figure_for_a_paper_is_what_its_suffix_says(
    name: str, start: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["report", "runs", "--figure", name])
    assert capsys.readouterr().out == f"report: report.html\npicture: {name}\n"
    assert Path(name).read_bytes().startswith(start)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "run is 'nothing', which does not exist; give the folder of a run"),
        ([], "no run was found (no path is given)"),
        (["empty"], "no run was found (empty does not contain a run.jsonl yet)"),
        (["notes.txt"], "run is 'notes.txt', which contains no record of a run"),
        (["runs", "--follow", "--port", "70000"], "port is 70000; it must be in 0 to 65535"),
        (["nothing", "--follow"], "run is 'nothing', which does not exist"),
        (["runs", "--out", "empty"], "Is a directory"),
        (["runs", "--figure", "a.gif"], "figure is 'a.gif'; its name must end in one of .png, .svg, .pdf"),
        (
            ["runs", "--follow", "--figure", "a.svg"],
            "figure is given together with --follow, which writes nothing; leave it",
        ),
        (["runs", "--follow", "--png"], "png is given together with --follow, which writes nothing; leave it"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty").mkdir()
    Path("notes.txt").write_text("hello\n")
    before = sorted(Path().rglob("*"))
    with pytest.raises(SystemExit) as stop:
        main(["report", *arguments])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert sorted(Path().rglob("*")) == before


def test_follow_serves_until_control_c_and_writes_nothing() -> None:
    before = sorted(Path().rglob("*"))
    command = [INSTALLED, "report", "runs", "--follow"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=take_control_c
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        said = process.stdout.readline()
        address = said.removeprefix("report: ").split()[0]
        assert said == f"report: {address} (press Ctrl-C to stop)\n" and address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address, timeout=60) as answer:
            assert "scionc-seed0" in answer.read().decode()
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(timeout=30) == 0
        assert process.stdout.read() == "ended\n"
        assert process.stderr.read() == ""
    assert sorted(Path().rglob("*")) == before


def test_ten_thousand_steps_are_read_in_seconds() -> None:
    write_run(Path("long"), steps=10_000, watch_every=100)
    began = time.perf_counter()
    main(["report", "long"])
    assert time.perf_counter() - began < 10
    assert Path("report.html").stat().st_size < 6_000_000
