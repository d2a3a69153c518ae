"""Folders that one process writes to, with real processes."""

import errno
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from steadydecay.run_log import folder_lock, held_file
from steadydecay.run_log.folder_lock import FolderInUseError, locked
from steadydecay.run_log.held_file import HeldFile

LOCKING = """
import sys, time
from pathlib import Path
from steadydecay.run_log.folder_lock import locked

with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.readline()
"""


def locking(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", LOCKING, str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "locked\n"
    return process


def test_another_process_is_named_and_a_dead_one_is_not_in_the_way(tmp_path: Path) -> None:
    with locking(tmp_path) as process:
        owner = rf"process {process.pid} on {re.escape(socket.gethostname())}, since \d{{4}}-"
        with pytest.raises(FolderInUseError, match=rf"{tmp_path.name} is in use by {owner}.*\. Wait until it ends"):
            locked(tmp_path).__enter__()
        process.kill()
    assert (tmp_path / ".lock").exists(), "nobody was left to remove it"
    with locked(tmp_path):
        assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} ")
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_ends_frees_the_folder(tmp_path: Path) -> None:
    with locking(tmp_path) as process:
        process.communicate("\n")
    with locked(tmp_path):
        pass


def test_the_same_process_is_refused_as_well(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(FolderInUseError, match=f"process {os.getpid()} "), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


@pytest.mark.parametrize("left", ["", "process 1 on earth, since 1970-01-01 00:00 and much more of that", "\udc80"])
def test_what_a_lock_file_holds_does_not_matter(tmp_path: Path, left: str) -> None:
    path = tmp_path / ".lock"
    path.write_text(left, errors="surrogateescape")
    with locked(tmp_path):
        assert re.fullmatch(rf"process {os.getpid()} on .*, since [-0-9]+ [0-9:]+", path.read_text())
        path.write_bytes(b"")
        with pytest.raises(FolderInUseError, match=r"is in use by another process\. Wait"):
            locked(tmp_path).__enter__()


def test_a_folder_is_made_and_stays_only_with_content(tmp_path: Path) -> None:
    with locked(tmp_path / "a/b"):
        (tmp_path / "a/b/file").touch()
    assert [path.name for path in (tmp_path / "a/b").iterdir()] == ["file"]
    with pytest.raises(KeyError), locked(tmp_path / "c/d"):
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    (tmp_path / "e").mkdir()
    with locked(tmp_path / "e"):
        pass
    assert (tmp_path / "e").is_dir(), "it was there before"


def test_a_forked_process_leaves_its_parent_s_lock(tmp_path: Path) -> None:
    with locked(tmp_path):
        if (child := os.fork()) == 0:
            # It leaves the block as its parent will.
            try:
                locked(tmp_path / "other").__enter__()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        with pytest.raises(FolderInUseError):
            locked(tmp_path).__enter__()


def test_a_file_system_without_locks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_file, "fcntl", None)
    with (
        pytest.warns(
            UserWarning, match=f"The file system of .*{tmp_path.name} does not support locks, so a second run"
        ),
        locked(tmp_path),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["file/below", "file"])
def test_what_is_no_folder_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("content")
    with pytest.raises(OSError, match="file"):
        locked(tmp_path / name).__enter__()
    assert (tmp_path / "file").read_text() == "content"


def test_a_full_disk_names_the_lock_and_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(held: HeldFile) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(folder_lock, "_sign", full)
        with pytest.raises(OSError, match=r"No space left on device: '.*\.lock'"):
            locked(tmp_path).__enter__()
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(OSError, match="No space left"):
            locked(tmp_path / "new").__enter__()
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path):
        assert (tmp_path / ".lock").read_text()
