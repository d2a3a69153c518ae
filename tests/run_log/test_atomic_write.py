"""Atomic replacement on a real disk: the old content or the new, and nothing beside it."""

import errno
import fcntl
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import FileIO
from pathlib import Path
from threading import Timer

import pytest

from steadydecay.run_log import held_file
from steadydecay.run_log.atomic_write import replace_file
from steadydecay.run_log.held_file import HeldFile, hold


def test_the_parts_become_the_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for parts in ([b"old, and longer"], [b"a", memoryview(b"bc"), b""], []):
        replace_file(path, parts)
        assert path.read_bytes() == b"".join(parts)
    assert list(tmp_path.iterdir()) == [path]


def test_until_all_parts_are_written_the_old_content_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def parts() -> Iterator[bytes]:
        yield b"new" * 100_000
        assert path.read_bytes() == b"old"
        raise InterruptedError

    with pytest.raises(InterruptedError):
        replace_file(path, parts())
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_replaced_leaves_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    with pytest.raises(OSError):
        replace_file(path, [b"new"])
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_processes_left_of_the_file_is_removed_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "run[1].jsonl"
    left = [".run[1].jsonl.1.tmp", f".run[1].jsonl.{os.getpid()}.tmp", ".run[1].jsonl.4194304.tmp"]
    others = [".run[1].jsonl.old.tmp", ".run1.jsonl.7.tmp", "run[1].jsonl.7.tmp", ".run[1].jsonl.7.tmp~"]
    for name in (*left, *others):
        (tmp_path / name).write_text("half")
    replace_file(path, [b"new"])
    assert {one.name for one in tmp_path.iterdir()} == {path.name, *others}
    assert path.read_bytes() == b"new"


def test_what_another_process_is_writing_stays(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    being_written = hold(tmp_path / ".page.html.1.tmp")
    (tmp_path / ".page.html.2.tmp").mkdir()
    replace_file(path, [b"new"])
    being_written.file.close()
    assert {one.name for one in tmp_path.iterdir()} == {path.name, ".page.html.1.tmp", ".page.html.2.tmp"}


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from steadydecay.run_log.atomic_write import replace_file

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    replace_file(Path(sys.argv[1]), [b"x" * 100_000])
except OSError as error:
    print(error)
"""


def test_a_full_disk_names_the_file_and_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    command = [sys.executable, "-c", FULL_DISK, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == f"[Errno {errno.EFBIG}] File too large: '{path}'\n"
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_folder_and_content_are_durable_in_this_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[str, bool]] = []

    def record(handle: int) -> None:
        target = Path(f"/proc/self/fd/{handle}").readlink()
        synced.append((target.name, (tmp_path / "file").exists()))

    monkeypatch.setattr(os, "fsync", record)
    replace_file(tmp_path / "file", [b"new"])
    (first, was_there), second = synced
    assert re.fullmatch(rf"\.file\.{os.getpid()}-[0-9a-f]{{8}}\.tmp", first) and not was_there
    assert second == (tmp_path.name, True)


def write_often(path: Path) -> list[str]:
    failed = []
    for number in range(40):
        try:
            replace_file(path, [b"%d" % number])
        except OSError as error:
            failed.append(repr(error))
    return failed


def test_many_writers_of_one_file_are_not_in_each_other_s_way(tmp_path: Path) -> None:
    """Threads of one process once had one name for what they wrote, and swept each other's away."""
    path = tmp_path / "page.html"
    with ThreadPoolExecutor(6) as writers:
        failed = [one for of_writer in writers.map(write_often, [path] * 6) for one in of_writer]
    assert failed == []
    assert path.read_bytes() == b"39" and list(tmp_path.iterdir()) == [path]


def test_a_writer_waits_while_another_looks_whether_its_file_was_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, swept = held_file._opened, list[HeldFile]()

    def opened_and_swept(path: Path, make: bool) -> int:
        handle = opened(path, make)
        if not swept:
            swept.append(HeldFile(FileIO(opened(path, make), "r+"), True))
            fcntl.flock(swept[0].file, fcntl.LOCK_EX)
            Timer(0.05, swept[0].file.close).start()
        return handle

    monkeypatch.setattr(held_file, "_opened", opened_and_swept)
    replace_file(tmp_path / "page.html", [b"new"])
    assert swept[0].file.closed and (tmp_path / "page.html").read_bytes() == b"new"
