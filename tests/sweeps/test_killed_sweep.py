"""A real sweep in local processes: a killed sweep costs nothing that had finished, a killed worker an attempt."""

import re
from pathlib import Path

import psutil
from running_sweep import SECONDS, TRIALS, finished, start, wait_until

from steadydecay.sweeps.sweep_tables import read_sweep


def workers_of(pid: int) -> list[psutil.Process]:
    return [child for child in psutil.Process(pid).children() if "spawn_main" in " ".join(child.cmdline())]


def test_the_whole_sweep_and_then_a_worker_are_killed_and_every_trial_ends_once(text: Path, tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    options = ["--processes", "2", "--steps", "30"]
    first = start(text, out, *options)
    wait_until(lambda: len(finished(out)) >= 2, first)
    orphans = workers_of(first.pid)
    first.kill()
    first.wait()
    # A worker that outlived its parent would hold the folder of its trial.
    assert psutil.wait_procs(orphans, timeout=60)[1] == []
    ended = finished(out)
    before = {path: path.stat().st_mtime_ns for name in ended for path in (out / "trials" / name).rglob("*")}
    assert 2 <= len(ended) < TRIALS

    second = start(text, out, *options)
    wait_until(lambda: len(finished(out)) >= len(ended) + 1, second)
    workers_of(second.pid)[0].kill()
    assert second.wait(timeout=SECONDS) == 0
    assert before == {path: path.stat().st_mtime_ns for path in before}, "a finished trial was trained again"
    rows = read_sweep(out)
    assert [row.status for row in rows] == ["finished"] * TRIALS
    assert sum(row.attempts for row in rows) == TRIALS + 1, "the killed worker's trial was tried twice"
    shown = out.with_suffix(".out").read_text()
    found = re.search(r"12 trials, of which an earlier command has ended (\d+)\.", shown)
    # A worker may have ended its trial after the sweep was killed, which wrote the table.
    assert found and len(ended) <= int(found[1]) <= len(ended) + 2
    assert "The sweep has 12 trials: 12 finished." in shown
