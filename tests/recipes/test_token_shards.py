"""Token shards on a real disk: whole, or an error that names the file."""

from pathlib import Path

import numpy as np
import pytest

from steadydecay.recipes.token_shards import Shard, ShardError, read_shard, write_shard


def header(*fields: int) -> bytes:
    return np.array([*fields, *[0] * (256 - len(fields))], dtype="<i4").tobytes()


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
        ([[1, 2]], r"tokens have the shape \(1, 2\); it must be \(n,\)"),
        (5, r"tokens have the shape \(\)"),
        (np.zeros(0, dtype=int), r"tokens have the shape \(0,\)"),
        (np.broadcast_to(np.uint16(0), 2**31), r"tokens have the shape \(2147483648,\)"),
        ([1.0], r"tokens have the dtype float64; they must be integers"),
        ([True], r"tokens have the dtype bool"),
        ([-1, 3], r"tokens range from -1 to 3; they must be in \[0, 65536\)"),
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
        (b"", r"has 0 bytes, but a token shard has a header of 1024 bytes"),
        (header(20240520, 1, 1)[:-1], r"has 1023 bytes, but a token shard"),
        (header(20240521, 1, 1) + b"ab", r"is not a token shard: it starts with 20240521 instead of 20240520"),
        (header(20240520, 2, 1) + b"ab", r"is a shard of version 2; it must have version 1"),
        (header(20240520, 1, 0), r"says that it has 0 tokens; it must have at least 1"),
        (header(20240520, 1, -1), r"says that it has -1 tokens; it must have at least 1"),
        (header(20240520, 1, 2) + b"abc", r"has 1027 bytes, but its 2 tokens take 1028"),
        (header(20240520, 1, 2) + b"abcde", r"has 1029 bytes, but its 2 tokens take 1028"),
    ],
)
def test_a_broken_shard_names_itself(tmp_path: Path, file: bytes, message: str) -> None:
    path = tmp_path / "broken.bin"
    path.write_bytes(file)
    with pytest.raises(ShardError, match=rf"broken\.bin {message}"):
        read_shard(path)


def test_a_missing_shard_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"a\.bin"):
        read_shard(tmp_path / "a.bin")


def test_a_shard_that_shrinks_after_it_was_opened_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_shard(path, np.arange(100))
    shard = Shard(path, 10, 90)
    assert (len(shard), shard[2:4].tolist(), shard[78:99].tolist()) == (80, [12, 13], [88, 89])
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ShardError, match=r"a\.bin has 1174 bytes, but its 100 tokens take 1224"):
        shard[:1]
