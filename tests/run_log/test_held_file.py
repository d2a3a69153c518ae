"""A held file, with real processes: one holds it at a time, and none beyond its death."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from steadydecay.run_log import held_file
from steadydecay.run_log.held_file import hold

HOLDER = """
import sys, time
from pathlib import Path
from steadydecay.run_log.held_file import hold

held = hold(Path(sys.argv[1]))
{more}
print("held", flush=True)
time.sleep(60)
"""
FORKS = """
import os
if os.fork() == 0:
    time.sleep(20)
    os._exit(0)
"""


@contextmanager
def holder(path: Path, more: str = "") -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the file, until the block ends or kills it."""
    command = [sys.executable, "-c", HOLDER.format(more=more), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            # What it forked, too: else its end of the pipe stays open.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def test_a_file_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "file"
    held = hold(path)
    assert held.is_locked
    with pytest.raises(BlockingIOError):
        hold(path)
    held.file.close()
    hold(path).file.close()


def test_a_file_that_another_process_holds_is_refused_until_it_is_killed(tmp_path: Path) -> None:
    with holder(tmp_path / "file") as process:
        with pytest.raises(BlockingIOError):
            hold(tmp_path / "file")
        process.kill()
        process.wait()
        hold(tmp_path / "file").file.close()


def test_what_a_killed_process_forked_does_not_hold_its_file(tmp_path: Path) -> None:
    """Workers that load data are forked, and may outlive who started them."""
    with holder(tmp_path / "file", FORKS) as process:
        process.kill()
        process.wait()
        os.killpg(process.pid, 0)  # The forked one lives.
        for _ in range(100):
            # It lets go as soon as it runs, which on a busy machine is after its parent was killed.
            with suppress(BlockingIOError):
                return hold(tmp_path / "file").file.close()
            time.sleep(0.1)
        pytest.fail("the forked process holds the file")


def test_a_file_that_was_removed_as_it_was_locked_is_opened_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else two processes would hold two files of one name."""
    path = tmp_path / "file"
    path.touch()
    assert held_file.fcntl is not None
    flock = held_file.fcntl.flock
    removed: list[Path] = []

    def remove_and_lock(file: int, operation: int) -> None:
        flock(file, operation)
        if not removed:
            removed.append(path)
            path.unlink()

    monkeypatch.setattr(held_file.fcntl, "flock", remove_and_lock)
    held = hold(path)
    assert removed and os.path.samestat(os.fstat(held.file.fileno()), path.stat())
    with pytest.raises(BlockingIOError):
        hold(path)
    held.file.close()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(file: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    assert held_file.fcntl is not None
    monkeypatch.setattr(held_file.fcntl, "flock", refuse)
    held = hold(tmp_path / "file")
    assert not held.is_locked
    held.file.close()
    monkeypatch.setattr(held_file, "fcntl", None)
    held = hold(tmp_path / "file")
    assert not held.is_locked
    held.file.close()


def test_another_error_is_no_missing_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: int, operation: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    assert held_file.fcntl is not None
    monkeypatch.setattr(held_file.fcntl, "flock", refuse)
    with pytest.raises(OSError, match="Input/output error"):
        hold(tmp_path / "file")


@pytest.mark.parametrize("kind", ["folder", "pipe without a reader"])
def test_what_is_no_file_does_not_block(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    if kind == "folder":
        path.mkdir()
        with pytest.raises(IsADirectoryError):
            hold(path)
    else:
        os.mkfifo(path)
        hold(path).file.close()
