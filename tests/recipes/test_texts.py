"""Texts from real files: what counts as text, and where it is split."""

import gzip
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import pytest

from steadydecay.recipes.texts import embedded_files, is_validation_file, split_file, split_texts, texts_below


def test_embedded_text_is_source_and_prose_without_tests() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        names = list(embedded_files())
    assert names == sorted(names)
    assert {"argparse.py", "email/message.py", "LICENSE.txt"} <= set(names)
    assert all(name.endswith((".py", ".txt", ".rst", ".md")) for name in names)
    folders = {folder for name in names for folder in name.split("/")[:-1]}
    assert not folders & {"test", "tests", "idle_test", "site-packages", "__pycache__"}


def test_a_text_file_is_split_at_a_line_end_before_its_last_tenth(tmp_path: Path) -> None:
    path = tmp_path / "story.txt"
    path.write_bytes(b"".join(b"line %04d\n" % number for number in range(1000)) + b"ab")
    (train,), (validation,) = split_file(path)
    assert train + validation == path.read_bytes()
    assert validation.startswith(b"line 0900\n")


def test_a_text_file_without_a_line_end_near_is_cut_at_its_last_tenth(tmp_path: Path) -> None:
    path = tmp_path / "story"
    path.write_bytes(b"\n" + b"x" * 999)
    (train,), (validation,) = split_file(path)
    assert (len(train), len(validation)) == (900, 100)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (b"", "empty"),
        (b"text\0text", "binary, with NUL bytes or control characters"),
        (b"t" * 9000 + b"\0", "binary, with NUL bytes"),
        (b"\xff\xd8\xff\xe1" + bytes(range(1, 256)) * 9, "binary, with NUL bytes or control characters"),
        (b"text\n" * 2**18 + bytes(range(128, 256)) + bytes(range(1, 32)) * 2**10, "binary"),
        (gzip.compress(b"text", mtime=0), r"compressed with gzip \(use gunzip\)"),
        ("text".encode("utf-16"), r"in UTF-16 \(use iconv -f UTF-16 -t UTF-8\)"),
    ],
)
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, wrong: bytes, told: str) -> None:
    path = tmp_path / "story.txt"
    path.write_bytes(wrong)
    with pytest.raises(ValueError, match=rf"story\.txt is {told}.*; it must be text"):
        split_file(path)


def test_one_more_file_moves_no_other_file_to_the_other_side() -> None:
    texts = {f"{number}.txt": b"%d" % number for number in range(200)}
    validation = split_texts(texts)[1]
    assert set(validation) <= set(split_texts({"0new.txt": b"new", **texts})[1]) <= {*validation, b"new"}


@pytest.mark.parametrize("validation_bytes", [0, 1000])
def test_unbalanced_files_are_split_at_their_ends(validation_bytes: int) -> None:
    sizes = {f"{n}": validation_bytes if is_validation_file(f"{n}") else 20 for n in range(100)}
    texts = {name: b"x" * size for name, size in sizes.items() if size}
    train, validation = split_texts(texts)
    assert len(train) == len(validation) == len(texts)
    assert sum(map(len, validation)) == sum(map(len, texts.values())) // 10


def left_out_of(folder: Path) -> tuple[list[str], str]:
    """The names of the texts in a folder, and what the one warning says that is left out."""
    with pytest.warns(UserWarning) as warned:
        texts = texts_below(folder)
    (message,) = (str(one.message) for one in warned)
    return list(texts), message.removeprefix(f"Training on {folder} leaves out ")


def test_what_is_no_text_in_a_folder_is_left_out_and_said(tmp_path: Path) -> None:
    (tmp_path / "seen").write_bytes(b"y" * 20)
    (tmp_path / ".hidden").write_text("hidden")
    (tmp_path / ".folder").mkdir()
    (tmp_path / ".folder" / "file").write_text("hidden")
    (tmp_path / "picture").write_bytes(b"\x89PNG\r\n\0\0")
    (tmp_path / "empty").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "absent")
    os.mkfifo(tmp_path / "pipe")
    texts, left_out = left_out_of(tmp_path)
    assert texts == ["seen"]
    assert "2 hidden: .folder, .hidden" in left_out
    assert "1 binary, with NUL bytes" in left_out and left_out.count("picture") == 1
    assert (
        "1 with a missing link target: dangling" in left_out
        and "1 special (a pipe, socket or device): pipe" in left_out
    )
    assert "empty" not in left_out, "nothing of it is missed"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_text_with_nul_bytes_beside_other_text_is_said(tmp_path: Path, encoding: str) -> None:
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text("text " * 9, encoding=encoding if number else "utf-8")
    texts, left_out = left_out_of(tmp_path)
    assert texts == ["0.txt"]
    assert left_out.startswith(f"2 in {encoding.upper()[:6]} (use iconv -f UTF-") and left_out.endswith(
        ": 1.txt, 2.txt"
    )
    (tmp_path / "0.txt").unlink()
    with pytest.raises(ValueError, match=r"contains no text; .*\. Left out: 2 in UTF-.*: 1\.txt, 2\.txt$"):
        texts_below(tmp_path)


def test_folders_behind_links_are_said_and_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_text("text")
    data = tmp_path / "data"
    (data / "sub").mkdir(parents=True)
    (data / "file").symlink_to(tmp_path / "real" / "file")
    (data / "sub" / "linked").symlink_to(tmp_path / "real")
    (data / "sub" / "round").symlink_to(data)
    assert left_out_of(data) == (
        ["file"],
        "2 behind a link to a folder, which is not followed: sub/linked, sub/round",
    )


def test_a_file_with_a_hole_is_read_no_further_than_to_the_hole(tmp_path: Path) -> None:
    """A terabyte of nothing takes no room on the disk and must take none in memory."""
    with (tmp_path / "hole").open("wb") as file:
        file.write(b"text" * 2**20)
        file.truncate(2**40)
    (tmp_path / "seen").write_text("text")
    assert left_out_of(tmp_path)[0] == ["seen"]
    with pytest.raises(ValueError, match="hole is binary, with NUL bytes"):
        split_file(tmp_path / "hole")


def test_a_file_that_never_ends_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name, kind in {"pipe": "a named pipe", "zero": "a device"}.items():
        with pytest.raises(ValueError, match=f"{name} is {kind}, but it must be a regular file"):
            split_file(tmp_path / name)
    (tmp_path / "seen").write_text("text")
    assert left_out_of(tmp_path) == (["seen"], "2 special (a pipe, socket or device): pipe, zero")


UNREADABLE = """
import os, sys
from pathlib import Path
from steadydecay.recipes.texts import texts_below

if os.getuid() == 0:  # For whom all can be read.
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
print(list(texts_below(Path(sys.argv[1]))))
"""


def test_files_and_folders_that_cannot_be_read_are_said() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for sub in ("open", "locked", "listed"):
            (folder / sub).mkdir()
            (folder / sub / "file").write_text("text")
        (folder / "secret").write_text("text")
        (folder / "link").symlink_to("locked/file")
        for path, mode in {"secret": 0, "locked": 0, "listed": 0o444}.items():
            (folder / path).chmod(mode)
        command = [sys.executable, "-c", UNREADABLE, name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        for path in ("locked", "listed"):
            (folder / path).chmod(0o755)
    assert done.stdout == "['open/file']\n"
    assert "leaves out 4 that cannot be read: link, listed/file, locked, secret\n" in done.stderr


def test_a_folder_without_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".hidden").write_text("hidden")
    with pytest.raises(ValueError, match=rf"{tmp_path.name} contains no text; give a folder with text files"):
        texts_below(tmp_path)
