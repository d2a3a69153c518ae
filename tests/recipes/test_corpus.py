"""What a path names as token data, from real files: text, shards, and where each is split."""

import errno
import os
import resource
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import torch

from steadydecay.recipes.corpus import embedded_text, load_tokens
from steadydecay.recipes.texts import embedded_files, is_validation_file
from steadydecay.recipes.token_shards import ShardError, write_shard
from steadydecay.recipes.tokens import TokenStream, batch


def content(stream: TokenStream) -> bytes:
    return b"".join(np.asarray(piece.tokens[:]).tobytes() for piece in stream.pieces)


def test_embedded_text_is_the_standard_library_split_by_file() -> None:
    data = embedded_text()
    files = embedded_files()
    sides = {side: [text for name, text in files.items() if is_validation_file(name) == side] for side in (False, True)}
    assert content(data.train) == b"\0".join(sides[False])
    assert content(data.validation) == b"\0".join(sides[True])
    assert (data.name, data.vocabulary_size, data.train.vocabulary_size) == ("embedded", 256, 256)
    assert 5e6 < data.train.token_count + data.validation.token_count < 30e6
    assert 0.05 < len(sides[True]) / len(files) < 0.15
    assert len(data.train.pieces) == len(data.validation.pieces) == 1


def test_embedded_text_is_what_no_path_loads() -> None:
    inputs, targets = batch(load_tokens(None).train, length=128, batch_size=4, step=10, seed=1)
    assert torch.equal(inputs[:, 1:], targets[:, :-1])
    assert bytes(inputs[0].tolist()) in content(embedded_text().train)


def test_a_text_file_is_bytes_split_at_a_line_end(tmp_path: Path) -> None:
    path = tmp_path / "story.txt"
    path.write_bytes(b"".join(b"line %04d\n" % number for number in range(1000)))
    data = load_tokens(str(path))
    assert (data.name, data.vocabulary_size) == (str(path), 256)
    assert content(data.train) + content(data.validation) == path.read_bytes()
    assert content(data.validation).startswith(b"line 0900\n")


def test_nothing_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent', which does not exist\. Give a text file, a folder"):
        load_tokens(tmp_path / "absent")


def test_an_empty_path_is_not_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("text " * 99)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"data is '', perhaps because a shell variable is not set\. Give a"):
        load_tokens("")
    assert load_tokens(".").train.token_count == 446


@pytest.mark.parametrize("suffix", [".txt", ".bin"])
@pytest.mark.parametrize("as_folder", [False, True])
def test_a_pipe_is_not_waited_for(tmp_path: Path, suffix: str, as_folder: bool) -> None:
    os.mkfifo(tmp_path / f"pipe{suffix}")
    with pytest.raises(ValueError, match=rf"pipe\{suffix} is a named pipe|contains no text; .*: pipe\.txt$"):
        load_tokens(tmp_path if as_folder else tmp_path / f"pipe{suffix}")


def test_a_text_folder_that_cannot_be_listed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("text " * 99)

    def refuse(folder: Path) -> NoReturn:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(PermissionError, match=tmp_path.name):
        load_tokens(tmp_path)


def test_many_files_are_split_by_the_hash_of_their_path(tmp_path: Path) -> None:
    for number in range(100):
        file = tmp_path / f"part{number % 3}" / f"{number:03d}.md"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"file {number:03d}")
    data = load_tokens(tmp_path)
    train, validation = content(data.train).split(b"\0"), content(data.validation).split(b"\0")
    expected = {f"file {n:03d}".encode() for n in range(100) if is_validation_file(f"part{n % 3}/{n:03d}.md")}
    assert 2 <= len(expected) <= 30
    assert set(validation) == expected
    assert len(train) + len(validation) == len(set(train + validation)) == 100


def test_few_files_are_split_at_their_ends(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode() * 50)
    data = load_tokens(tmp_path)
    assert content(data.train) == b"a" * 45 + b"\0" + b"b" * 45
    assert content(data.validation) == b"a" * 5 + b"\0" + b"b" * 5


def test_short_files_are_not_lost(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / f"{number}.txt").write_text("short")
    inputs, _ = batch(load_tokens(tmp_path).train, length=64, batch_size=1, step=0, seed=0)
    assert b"short\0short\0" in bytes(inputs[0].tolist())


@pytest.mark.parametrize("as_folder", [False, True])
def test_a_broken_shard_is_refused(tmp_path: Path, as_folder: bool) -> None:
    path = tmp_path / "broken.bin"
    write_shard(path, np.arange(100))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ShardError, match=r"broken\.bin has 1223 bytes"):
        load_tokens(tmp_path if as_folder else path)


@pytest.mark.parametrize("as_folder", [False, True])
def test_one_shard_is_split_at_its_last_tenth(tmp_path: Path, as_folder: bool) -> None:
    path = tmp_path / "only_val.bin"
    write_shard(path, np.arange(105))
    data = load_tokens(tmp_path if as_folder else path)
    assert (data.vocabulary_size, data.train.vocabulary_size) == (50304, 50304)
    assert content(data.train) == np.arange(95, dtype=np.uint16).tobytes()
    assert content(data.validation) == np.arange(95, 105, dtype=np.uint16).tobytes()


def shard_folder(folder: Path, *names: str) -> tuple[list[str], list[str]]:
    for number, name in enumerate(names):
        write_shard(folder / name, 1000 * number + np.arange(40))
    data = load_tokens(folder)
    sides = (data.train, data.validation)
    train, validation = ([Path(piece.name).name for piece in side.pieces] for side in sides)
    return train, validation


def test_shards_with_val_in_their_name_are_validation(tmp_path: Path) -> None:
    sides = shard_folder(tmp_path, "x_train_2.bin", "x_val_0.bin", "x_train_1.bin", "x_val_1.bin")
    assert sides == (["x_train_1.bin", "x_train_2.bin"], ["x_val_0.bin", "x_val_1.bin"])


def test_the_last_of_several_shards_is_validation_otherwise(tmp_path: Path) -> None:
    assert shard_folder(tmp_path, "3.bin", "1.bin", "2.bin") == (["1.bin", "2.bin"], ["3.bin"])


def test_shards_without_one_to_train_on_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf'every \.bin file in .*{tmp_path.name} has "val" in its name'):
        shard_folder(tmp_path, "val_1.bin", "val_2.bin")


def test_shards_are_read_window_by_window(tmp_path: Path) -> None:
    for number in range(3):
        write_shard(tmp_path / f"{number}.bin", 1000 * number + np.arange(41))
    (tmp_path / "notes.txt").write_text("not read where there are shards")
    (tmp_path / "sub").mkdir()
    with pytest.warns(UserWarning, match=r"leaves out 2 beside the \.bin shards: notes\.txt, sub$") as warned:
        stream = load_tokens(tmp_path).train
    assert len(warned) == 1
    assert stream.token_count == 82
    inputs, _ = batch(stream, length=10, batch_size=8, step=0, seed=0)
    assert sorted(inputs[:, 0].tolist()) == [0, 10, 20, 30, 1000, 1010, 1020, 1030]


def test_more_shards_than_a_process_may_open_can_be_read(tmp_path: Path) -> None:
    for number in range(40):
        write_shard(tmp_path / f"{number}.bin", np.arange(9))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    in_use = len(list(Path("/dev/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (in_use + 20, limits[1]))
    try:
        stream = load_tokens(tmp_path).train
        inputs, _ = batch(stream, length=8, batch_size=39, step=0, seed=0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert inputs.tolist() == [list(range(8))] * 39


def test_a_token_outside_the_vocabulary_names_its_shard(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.bin", [1] * 10 + [50304] * 10)
    with pytest.raises(ValueError, match=r"a\.bin contains the token 50304; tokens must be in \[0, 50304\)"):
        batch(load_tokens(tmp_path).train, length=17, batch_size=1, step=0, seed=0)


def test_a_shard_that_shrinks_under_a_run_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_shard(path, np.arange(100))
    stream = load_tokens(path).train
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ShardError, match=r"a\.bin has 1174 bytes, but its 100 tokens take 1224"):
        batch(stream, length=10, batch_size=1, step=0, seed=0)


def test_a_link_to_nothing_is_said_to_be_one(tmp_path: Path) -> None:
    """As when the disk with the shards is not there now."""
    link, shards = tmp_path / "link.bin", tmp_path / "shards"
    link.symlink_to("/not/here.bin")
    shards.mkdir()
    (shards / "b.bin").symlink_to("/not/here.bin")
    write_shard(shards / "a.bin", range(100))
    for path, name in {link: "link.bin", shards: "b.bin"}.items():
        with pytest.raises(
            FileNotFoundError, match=rf"{name} is a link to /not/here\.bin, which does not exist; restore"
        ):
            load_tokens(path)
