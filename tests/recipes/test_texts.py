"""Texts from real files: what counts as text, and where it is split."""

import os
import socket
from pathlib import Path

import pytest

from steadydecay.recipes.texts import embedded_files, is_validation_file, split_file, split_texts, texts_below


def test_embedded_text_is_source_and_prose_without_tests() -> None:
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


@pytest.mark.parametrize("wrong", [b"", b"text\0text", b"t" * 9000 + b"\0"])
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, wrong: bytes) -> None:
    path = tmp_path / "story.txt"
    path.write_bytes(wrong)
    with pytest.raises(ValueError, match=r"story\.txt is empty or holds a NUL byte; legal is text"):
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


def test_what_is_no_text_in_a_folder_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "seen").write_bytes(b"y" * 20)
    (tmp_path / ".hidden").write_text("hidden")
    (tmp_path / ".folder").mkdir()
    (tmp_path / ".folder" / "file").write_text("hidden")
    (tmp_path / "picture").write_bytes(b"p\0")
    (tmp_path / "empty").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "absent")
    os.mkfifo(tmp_path / "pipe")
    assert texts_below(tmp_path) == {"seen": b"y" * 20}


def test_a_file_that_cannot_be_read_is_skipped_with_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "seen").write_bytes(b"y" * 20)
    monkeypatch.chdir(tmp_path)
    # A socket is the one file that even the superuser cannot open; it must look like a plain one to get that far.
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("locked")
        monkeypatch.setattr(Path, "is_file", lambda self: True)
        with pytest.warns(UserWarning, match=r"skipped .*locked, which cannot be read"):
            texts = texts_below(tmp_path)
    assert texts == {"seen": b"y" * 20}


def test_a_folder_without_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".hidden").write_text("hidden")
    with pytest.raises(ValueError, match=rf"{tmp_path.name} holds no text; legal is a folder with text files"):
        texts_below(tmp_path)
