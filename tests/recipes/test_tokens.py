"""Token data from real files: every window once per epoch, shares of ranks, splits, broken shards."""

import os
import resource
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from steadydecay.recipes.tokens import (
    Piece,
    ShardError,
    TokenStream,
    affine_permutation,
    batch,
    embedded_files,
    embedded_text,
    is_validation_file,
    load_tokens,
    read_shard,
    shuffled,
    split_texts,
    validation_batches,
    window_count,
    write_shard,
)


def counting(*lengths: int, vocabulary_size: int = 2**16) -> TokenStream:
    """Pieces whose tokens are 1000 · piece + position, so that a window tells where it is from."""
    pieces = (1000 * number + np.arange(length, dtype=np.uint16) for number, length in enumerate(lengths))
    named = tuple(Piece(f"piece{number}", tokens) for number, tokens in enumerate(pieces))
    return TokenStream("counting", named, vocabulary_size)


def content(stream: TokenStream) -> bytes:
    return b"".join(np.asarray(piece.tokens[:]).tobytes() for piece in stream.pieces)


def starts(stream: TokenStream, steps: int, **arguments: int) -> list[int]:
    batches = [batch(stream, step=step, **arguments) for step in range(steps)]
    return torch.cat([inputs[:, 0] for inputs, _ in batches]).tolist()


def header(*fields: int) -> bytes:
    return np.array([*fields, *[0] * (256 - len(fields))], dtype="<i4").tobytes()


# Batches


def test_targets_follow_inputs_and_windows_stay_in_their_piece() -> None:
    stream = counting(10, 3, 13)
    assert window_count(stream, 4) == 2 + 0 + 3
    inputs, targets = batch(stream, length=4, batch_size=5, step=0, seed=0)
    assert inputs.dtype == targets.dtype == torch.int64
    assert inputs.shape == targets.shape == (5, 4)
    assert inputs.is_contiguous() and targets.is_contiguous()
    assert torch.equal(targets, inputs + 1)
    assert sorted(inputs[:, 0].tolist()) == [0, 4, 2000, 2004, 2008]


@settings(deadline=None)
@given(windows=st.integers(1, 600), seed=st.integers(-(2**70), 2**70), epoch=st.integers(0, 10**6))
def test_each_window_comes_once_per_epoch(windows: int, seed: int, epoch: int) -> None:
    first = epoch * windows
    assert sorted(shuffled(first + row, windows, seed) for row in range(windows)) == list(range(windows))


def test_each_window_comes_once_per_epoch_when_batches_straddle_epochs() -> None:
    stream = counting(22, 15)
    seen = starts(stream, steps=5, length=3, batch_size=11, seed=7)
    everything = [*range(0, 21, 3), *range(1000, 1012, 3)]
    assert len(seen) == 5 * len(everything)
    for epoch in range(5):
        assert sorted(seen[epoch * 11 : epoch * 11 + 11]) == everything
    seen = starts(stream, steps=11, length=3, batch_size=4, seed=7)
    assert [sorted(seen[epoch * 11 : epoch * 11 + 11]) for epoch in range(4)] == [everything] * 4


def test_the_order_depends_on_seed_and_epoch_and_on_nothing_else() -> None:
    stream = counting(900)
    order = starts(stream, steps=1, length=3, batch_size=299, seed=0)
    assert order == starts(stream, steps=1, length=3, batch_size=299, seed=np.int64(0))  # type: ignore[arg-type]
    assert order == starts(stream, steps=13, length=3, batch_size=23, seed=0)
    assert order != starts(stream, steps=1, length=3, batch_size=299, seed=1)
    assert order != starts(stream, steps=2, length=3, batch_size=299, seed=0)[299:]


def test_the_order_is_the_same_on_every_machine() -> None:
    """Pinned: a change would give a resumed run windows it has seen."""
    assert [shuffled(sequence, 1000, 3) for sequence in (0, 1, 2, 999, 1000)] == [919, 538, 157, 300, 459]


@settings(deadline=None)
@given(windows=st.integers(200, 10**9), seed=st.integers(0, 1000))
def test_neighbouring_rows_are_far_apart_in_the_data(windows: int, seed: int) -> None:
    multiplier, _ = affine_permutation(windows, seed, 0)
    for apart in range(1, 8):
        step = apart * multiplier % windows
        assert min(step, windows - step) >= windows / 100


@settings(deadline=None)
@given(world_size=st.integers(1, 6), rows=st.integers(1, 5), step=st.integers(0, 1000), length=st.integers(1, 9))
def test_the_shares_of_the_ranks_are_the_global_batch(world_size: int, rows: int, step: int, length: int) -> None:
    stream, arguments = counting(100, 50), {"length": length, "batch_size": rows * world_size, "step": step, "seed": 5}
    shares = [batch(stream, **arguments, rank=rank, world_size=world_size) for rank in range(world_size)]
    inputs, targets = batch(stream, **arguments)
    assert torch.equal(torch.cat([share for share, _ in shares]), inputs)
    assert torch.equal(torch.cat([share for _, share in shares]), targets)
    assert all(share.shape == (rows, length) for share, _ in shares)


def test_validation_windows_are_fixed_and_evenly_spaced() -> None:
    stream = counting(1001)
    batches = list(validation_batches(stream, length=10, batch_size=4, count=5))
    assert [inputs.shape for inputs, _ in batches] == [(4, 10)] * 5
    assert torch.cat([inputs[:, 0] for inputs, _ in batches]).tolist() == list(range(0, 1000, 50))
    again = validation_batches(stream, length=10, batch_size=4, count=5)
    assert all(torch.equal(first[1], second[1]) for first, second in zip(batches, again, strict=True))


def test_the_last_validation_batch_may_be_smaller() -> None:
    batches = list(validation_batches(counting(71), length=10, batch_size=3, count=9))
    assert [len(inputs) for inputs, _ in batches] == [3, 3, 1]
    assert torch.cat([inputs[:, 0] for inputs, _ in batches]).tolist() == list(range(0, 70, 10))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"length": 0}, r"length is 0; legal is \[1"),
        ({"batch_size": 0}, r"batch_size is 0; legal is \[1"),
        ({"step": -1}, r"step is -1; legal is \[0"),
        ({"world_size": 0}, r"world_size is 0"),
        ({"rank": 2, "world_size": 2}, r"rank is 2; legal is \[0, 2\)"),
        ({"rank": -1}, r"rank is -1"),
        ({"world_size": 3}, r"batch_size is 4; legal are multiples of world_size=3"),
    ],
)
def test_batch_refuses_what_is_not_legal(changed: dict[str, int], message: str) -> None:
    arguments = {"length": 4, "batch_size": 4, "step": 0, "seed": 0} | changed
    with pytest.raises(ValueError, match=message):
        batch(counting(100), **arguments)


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"length": 0}, "length is 0"), ({"batch_size": 0}, "batch_size is 0"), ({"count": 0}, "count is 0")],
)
def test_validation_batches_refuses_at_the_call(changed: dict[str, int], message: str) -> None:
    arguments = {"length": 4, "batch_size": 4, "count": 1} | changed
    with pytest.raises(ValueError, match=message):
        validation_batches(counting(100), **arguments)


def test_too_little_data_names_the_data_its_size_and_the_remedy() -> None:
    message = r"length is 10, but counting holds 19 tokens, at most 10 in a row, .* = 11: give more data or length ≤ 9$"
    with pytest.raises(ValueError, match=message):
        batch(counting(10, 9), length=10, batch_size=1, step=0, seed=0)
    with pytest.raises(ValueError, match=message):
        validation_batches(counting(10, 9), length=10, batch_size=1, count=1)
    assert window_count(counting(10, 9), 9) == 1
    with pytest.raises(ValueError, match=r"holds 1 tokens.* give more data$"):
        window_count(counting(1), 1)
    with pytest.raises(ValueError, match=r"holds 0 tokens.* give more data$"):
        window_count(counting(), 1)


def test_a_token_outside_the_vocabulary_names_its_file() -> None:
    stream = counting(5, 5, vocabulary_size=1004)
    with pytest.raises(ValueError, match=r"piece1 holds token 1004; legal is \[0, 1004\)"):
        batch(stream, length=4, batch_size=2, step=0, seed=0)
    inputs, _ = batch(counting(5, 5, vocabulary_size=1005), length=4, batch_size=2, step=0, seed=0)
    assert int(inputs.max()) == 1003


# Embedded text


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


def test_embedded_text_is_source_and_prose_without_tests() -> None:
    names = list(embedded_files())
    assert names == sorted(names)
    assert {"argparse.py", "email/message.py", "LICENSE.txt"} <= set(names)
    assert all(name.endswith((".py", ".txt", ".rst", ".md")) for name in names)
    folders = {folder for name in names for folder in name.split("/")[:-1]}
    assert not folders & {"test", "tests", "idle_test", "site-packages", "__pycache__"}


def test_embedded_text_is_what_no_path_loads() -> None:
    inputs, targets = batch(load_tokens(None).train, length=128, batch_size=4, step=10, seed=1)
    assert torch.equal(inputs[:, 1:], targets[:, :-1])
    assert bytes(inputs[0].tolist()) in content(embedded_text().train)


# Text files and folders


def test_a_text_file_is_split_at_a_line_end_before_its_last_tenth(tmp_path: Path) -> None:
    path = tmp_path / "story.txt"
    path.write_bytes(b"".join(b"line %04d\n" % number for number in range(1000)) + b"ab")
    data = load_tokens(str(path))
    assert (data.name, data.vocabulary_size) == (str(path), 256)
    assert content(data.train) + content(data.validation) == path.read_bytes()
    assert content(data.validation).startswith(b"line 0900\n")


def test_a_text_file_without_a_line_end_near_is_cut_at_its_last_tenth(tmp_path: Path) -> None:
    path = tmp_path / "story"
    path.write_bytes(b"\n" + b"x" * 999)
    data = load_tokens(path)
    assert (data.train.token_count, data.validation.token_count) == (900, 100)


@pytest.mark.parametrize("wrong", [b"", b"text\0text", b"t" * 9000 + b"\0"])
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, wrong: bytes) -> None:
    path = tmp_path / "story.txt"
    path.write_bytes(wrong)
    with pytest.raises(ValueError, match=r"story\.txt is empty or holds a NUL byte; legal is text"):
        load_tokens(path)


def test_nothing_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent', and nothing is there; legal is a text file, a folder"):
        load_tokens(tmp_path / "absent")


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


def test_one_more_file_moves_no_other_file_to_the_other_side() -> None:
    texts = {f"{number}.txt": b"%d" % number for number in range(200)}
    validation = split_texts(texts)[1]
    assert set(validation) <= set(split_texts({"0new.txt": b"new", **texts})[1]) <= {*validation, b"new"}


def test_few_files_are_split_at_their_ends(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode() * 50)
    data = load_tokens(tmp_path)
    assert content(data.train) == b"a" * 45 + b"\0" + b"b" * 45
    assert content(data.validation) == b"a" * 5 + b"\0" + b"b" * 5


@pytest.mark.parametrize("validation_bytes", [0, 1000])
def test_unbalanced_files_are_split_at_their_ends(validation_bytes: int) -> None:
    sizes = {f"{n}": validation_bytes if is_validation_file(f"{n}") else 20 for n in range(100)}
    texts = {name: b"x" * size for name, size in sizes.items() if size}
    train, validation = split_texts(texts)
    assert len(train) == len(validation) == len(texts)
    assert sum(map(len, validation)) == sum(map(len, texts.values())) // 10


def test_short_files_are_not_lost(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / f"{number}.txt").write_text("short")
    inputs, _ = batch(load_tokens(tmp_path).train, length=64, batch_size=1, step=0, seed=0)
    assert b"short\0short\0" in bytes(inputs[0].tolist())


def test_what_is_no_text_in_a_folder_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "seen").write_bytes(b"y" * 20)
    (tmp_path / ".hidden").write_text("hidden")
    (tmp_path / ".folder").mkdir()
    (tmp_path / ".folder" / "file").write_text("hidden")
    (tmp_path / "picture").write_bytes(b"p\0")
    (tmp_path / "empty").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "absent")
    os.mkfifo(tmp_path / "pipe")
    data = load_tokens(tmp_path)
    assert content(data.train) + content(data.validation) == b"y" * 20


def test_a_file_that_cannot_be_read_is_skipped_with_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "seen").write_bytes(b"y" * 20)
    monkeypatch.chdir(tmp_path)
    # A socket is the one file that even the superuser cannot open; it must look like a plain one to get that far.
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("locked")
        monkeypatch.setattr(Path, "is_file", lambda self: True)
        with pytest.warns(UserWarning, match=r"skipped .*locked, which cannot be read"):
            data = load_tokens(tmp_path)
    assert data.train.token_count == 18


def test_a_folder_without_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".hidden").write_text("hidden")
    with pytest.raises(ValueError, match=rf"{tmp_path.name} holds no text; legal is a folder with text files"):
        load_tokens(tmp_path)


# Shards


def test_a_shard_comes_back_as_written(tmp_path: Path) -> None:
    tokens = np.array([0, 1, 50256, 65535])
    write_shard(tmp_path / "a.bin", tokens)
    back = read_shard(tmp_path / "a.bin")
    assert isinstance(back, np.memmap)
    assert back.dtype == np.uint16
    assert back.tolist() == tokens.tolist()
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == header(20240520, 1, 4) + tokens.astype("<u2").tobytes()


def test_a_shard_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.bin").mkdir()
    with pytest.raises(OSError):
        write_shard(tmp_path / "a.bin", [1, 2])
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([[1, 2]], r"tokens have shape \(1, 2\); legal is \(n,\)"),
        (5, r"tokens have shape \(\)"),
        (np.zeros(0, dtype=int), r"tokens have shape \(0,\)"),
        (np.broadcast_to(np.uint16(0), 2**31), r"tokens have shape \(2147483648,\)"),
        ([1.0], r"tokens have dtype float64; legal are integers"),
        ([True], r"tokens have dtype bool"),
        ([-1, 3], r"tokens range from -1 to 3; legal is \[0, 65536\)"),
        ([65536], r"tokens range from 65536 to 65536"),
    ],
)
def test_write_shard_refuses_what_is_no_token_sequence(tmp_path: Path, tokens: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_shard(tmp_path / "a.bin", tokens)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (b"", r"has 0 bytes; legal is a token shard with a header of 1024"),
        (header(20240520, 1, 1)[:-1], r"has 1023 bytes; legal is a token shard"),
        (header(20240521, 1, 1) + b"ab", r"starts with 20240521; legal is 20240520"),
        (header(20240520, 2, 1) + b"ab", r"is a shard of version 2; legal is 1"),
        (header(20240520, 1, 0), r"says it holds 0 tokens; legal is 1 or more"),
        (header(20240520, 1, -1), r"says it holds -1 tokens; legal is 1 or more"),
        (header(20240520, 1, 2) + b"abc", r"has 1027 bytes; legal is 1028 for its 2 tokens"),
        (header(20240520, 1, 2) + b"abcde", r"has 1029 bytes; legal is 1028 for its 2 tokens"),
    ],
)
def test_a_broken_shard_names_itself(tmp_path: Path, file: bytes, message: str) -> None:
    path = tmp_path / "broken.bin"
    path.write_bytes(file)
    with pytest.raises(ShardError, match=rf"broken\.bin {message}"):
        read_shard(path)
    for source in (path, tmp_path):
        with pytest.raises(ShardError, match=message):
            load_tokens(source)


def test_a_missing_shard_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"a\.bin"):
        read_shard(tmp_path / "a.bin")


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
    stream = load_tokens(tmp_path).train
    assert stream.token_count == 82
    assert sorted(starts(stream, steps=4, length=10, batch_size=2, seed=0)) == [0, 10, 20, 30, 1000, 1010, 1020, 1030]


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
    with pytest.raises(ValueError, match=r"a\.bin holds token 50304; legal is \[0, 50304\)"):
        batch(load_tokens(tmp_path).train, length=17, batch_size=1, step=0, seed=0)


def test_a_shard_that_shrinks_under_a_run_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_shard(path, np.arange(100))
    stream = load_tokens(path).train
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ShardError, match=r"a\.bin has 1174 bytes; legal is 1224"):
        batch(stream, length=10, batch_size=1, step=0, seed=0)
