"""Shards that grow: the same bytes however they are filled, and after a stop at any moment."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from steadydecay.preparation.growing_shards import GrowingShards
from steadydecay.recipes.token_shards import ShardError, read_shard, write_shard

TOKENS = np.arange(1_000, 1_105, dtype=np.uint16)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def expected(folder: Path) -> dict[str, bytes]:
    """Shards of 10 tokens, as `write_shard` writes them."""
    folder.mkdir()
    for number, start in enumerate(range(0, len(TOKENS), 10)):
        write_shard(folder / f"train_{number:06d}.bin", TOKENS[start : start + 10])
    return content(folder)


@pytest.mark.parametrize("each", [1, 7, 10, 35, 105])
def test_shards_are_the_same_however_tokens_come(tmp_path: Path, each: int) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    shards = GrowingShards(folder, "train", 10)
    for start in range(0, len(TOKENS), each):
        shards.add(TOKENS[start : start + each])
        assert shards.token_count == min(start + each, len(TOKENS))
    assert shards.finish() == {f"train_{number:06d}.bin": 10 if number < 10 else 5 for number in range(11)}
    assert content(folder) == expected(tmp_path / "expected")


def test_a_last_shard_that_is_full_leaves_no_empty_one(tmp_path: Path) -> None:
    shards = GrowingShards(tmp_path, "val", 5)
    shards.add(TOKENS[:10])
    assert shards.finish() == {"val_000000.bin": 5, "val_000001.bin": 5}
    assert list(content(tmp_path)) == ["val_000000.bin", "val_000001.bin"]


def test_a_split_without_tokens_leaves_nothing(tmp_path: Path) -> None:
    assert GrowingShards(tmp_path, "val", 5).finish() == {}
    assert not content(tmp_path)


@pytest.mark.parametrize("synced", [0, 3, 10, 25, 40])
@pytest.mark.parametrize("more", [0, 1, 7, 20, 45])
def test_what_came_after_the_last_sync_is_done_again(tmp_path: Path, synced: int, more: int) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    others = ("val_000000.bin", "train_old.bin")
    for name in others:
        write_shard(folder / name, [1])
    first = GrowingShards(folder, "train", 10)
    first.add(TOKENS[:synced])
    first.sync()
    state = (first.whole, first.tokens)
    first.add(TOKENS[synced : synced + more])
    first.close()
    again = GrowingShards(folder, "train", 10, *state)
    again.add(TOKENS[synced:])
    again.finish()
    for name in others:
        (folder / name).unlink()
    assert content(folder) == expected(tmp_path / "expected")


def stopped(folder: Path) -> None:
    shards = GrowingShards(folder, "train", 10)
    shards.add(TOKENS[:25])
    shards.sync()
    shards.close()


def test_tokens_that_went_missing_are_noticed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    stopped(tmp_path / "a")
    for name, message in (
        (".train_000002.bin.part", r"train_000002\.bin\.part lacks some of the 5 tokens that were written to it"),
        ("train_000001.bin", r"train_000001\.bin has 0 tokens, but 10 were written to it; restore it"),
    ):
        shutil.copytree(tmp_path / "a", tmp_path / name)
        (tmp_path / name / name).unlink()
        with pytest.raises(ShardError, match=message):
            GrowingShards(tmp_path / name, "train", 10, 2, 5)


def test_a_whole_shard_of_another_version_or_length_is_refused(tmp_path: Path) -> None:
    stopped(tmp_path)
    path = tmp_path / "train_000000.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[:4] + b"\2" + whole[5:])
    with pytest.raises(ShardError, match=r"train_000000\.bin is a shard of version 2; it must have version 1"):
        GrowingShards(tmp_path, "train", 10, 2, 5)
    write_shard(path, TOKENS[:9])
    with pytest.raises(ShardError, match=r"train_000000\.bin has 9 tokens, but 10 were written to it"):
        GrowingShards(tmp_path, "train", 10, 2, 5)
    path.write_bytes(whole)
    assert len(read_shard(path)) == 10
    assert GrowingShards(tmp_path, "train", 10, 2, 5).token_count == 25
