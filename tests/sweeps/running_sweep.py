"""A sweep of twelve tiny trials as a process, for tests that kill parts of it."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from steadydecay.sweeps.sweep_tables import is_sweep, read_sweep

TINY = ["layers=1", "width=32", "heads=1", "length=16", "batch_size=4", "evaluation_batches=2", "precision=float32"]
GRID = ["--grid", "lr=0.01,0.02,0.04", "--grid", "decay_per_step=0.005,0.015", "--seed", "0", "1"]
TRIALS = 12
SECONDS = 200.0


def start(data: Path, out: Path, *options: str, overrides: Sequence[str] = ()) -> subprocess.Popen[str]:
    """The sweep; what it says goes to files beside `out`."""
    command = [sys.executable, "-m", "steadydecay.cli", "sweep", "gpt", *TINY, *overrides, *GRID, "--data", str(data)]
    with out.with_suffix(".out").open("a") as said, out.with_suffix(".err").open("a") as told:
        return subprocess.Popen([*command, "--out", str(out), *options], stdout=said, stderr=told, text=True)


def wait_until(is_so: Callable[[], bool], sweep: subprocess.Popen[str]) -> None:
    """Wait while the sweep runs; it must not end before."""
    deadline = time.monotonic() + SECONDS
    while not is_so():
        assert sweep.poll() is None, "the sweep ended"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def finished(out: Path) -> set[str]:
    """Trials that the table calls finished."""
    return {row.trial for row in read_sweep(out) if row.status == "finished"} if is_sweep(out) else set()


def kill_all(process: psutil.Process) -> None:
    """SIGKILL for a process and all that it started, itself first, so that it cannot react."""
    family = [process, *process.children(recursive=True)]
    for one in family:
        one.kill()
    psutil.wait_procs(family, timeout=10)
