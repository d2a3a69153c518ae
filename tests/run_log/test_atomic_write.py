"""Atomic replacement on a real disk: the old content or the new, and nothing beside it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from steadydecay.run_log.atomic_write import replace_file


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
