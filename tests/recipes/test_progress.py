"""What a person sees of a run: lines in a file, a bar on a terminal, nothing on the other ranks."""

import os
import sys
import threading
from contextlib import suppress

import pytest

from steadydecay.recipes.gpt.recipe import gpt_recipe
from steadydecay.recipes.progress import RunProgress


def show(steps: int, *, start: int = 0, silent: bool = False) -> None:
    recipe = gpt_recipe("mini", "scionc", {"seed": 3, "steps": steps, "batch_size": 4, "length": 100})
    with RunProgress(recipe, start, silent=silent) as progress:
        for step in range(start + 1, steps + 1):
            # One step in four waits for a disk, which is not the speed of the run.
            progress.update(step, 1 / step, 10.0 * step, 0.5, seconds=30.0 if step % 4 == 0 else 0.25)


def test_a_file_gets_ten_lines(capfd: pytest.CaptureFixture[str]) -> None:
    show(200)
    out, err = capfd.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert [line.split("  ")[1] for line in lines] == [f"step {step}/200" for step in range(20, 201, 20)]
    assert lines[-1] == "scionc seed 3  step 200/200  loss 0.005  ‖θ‖ 2000.00  ‖g‖ 0.500  1,600 tokens/s"


@pytest.mark.parametrize(
    ("start", "steps", "shown"), [(0, 3, [1, 2, 3]), (0, 25, [*range(2, 25, 2), 25]), (7, 9, [8, 9])]
)
def test_short_and_resumed_runs_end_with_a_line(
    capfd: pytest.CaptureFixture[str], start: int, steps: int, shown: list[int]
) -> None:
    show(steps, start=start)
    lines = capfd.readouterr().err.splitlines()
    assert [line.split("  ")[1] for line in lines] == [f"step {step}/{steps}" for step in shown]


def test_other_ranks_are_silent(capfd: pytest.CaptureFixture[str]) -> None:
    show(20, silent=True)
    assert capfd.readouterr() == ("", "")


def shown_on_a_terminal(monkeypatch: pytest.MonkeyPatch, *, silent: bool) -> str:
    """What arrives at the other end of a pseudo-terminal that is standard error."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "150")
    reading, writing = os.openpty()
    received: list[bytes] = []
    # A terminal takes few bytes that nobody reads, so it is read while it is written to.
    reader = threading.Thread(target=read_until_closed, args=(reading, received))
    reader.start()
    with os.fdopen(writing, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        show(40, silent=silent)
    reader.join()
    return b"".join(received).decode()


def read_until_closed(descriptor: int, received: list[bytes]) -> None:
    # Linux ends the reading of a terminal that was closed with an error.
    with suppress(OSError):
        while part := os.read(descriptor, 4096):
            received.append(part)
    os.close(descriptor)


def test_a_terminal_gets_a_bar_with_loss_norms_and_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = shown_on_a_terminal(monkeypatch, silent=False)
    assert "scionc seed 3" in shown and "40/40" in shown
    assert "loss 0.025  ‖θ‖ 400.00  ‖g‖ 0.500  1,600 tokens/s" in shown
    assert "step 40/40" not in shown, "the lines are for files"


def test_other_ranks_are_silent_on_a_terminal_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown_on_a_terminal(monkeypatch, silent=True) == ""
