"""What a folder of shards says of itself is what training takes from it, and holds it to."""

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from steadydecay.recipes.corpus import load_tokens
from steadydecay.recipes.shard_manifest import ShardManifest, read_manifest, require_whole, write_manifest
from steadydecay.recipes.token_shards import write_shard

MANIFEST = ShardManifest(
    tokenizer={"name": "a.json", "sha256": "0", "vocabulary_size": 1000, "end_of_text": "</s>", "end_of_text_id": 999},
    source={"name": "texts", "files": 1, "bytes": 9, "sha256": "0"},
    settings={"text_key": "text", "holdout": 0.01, "shard_tokens": 100},
    documents={"train": 2, "val": 1, "empty": 0, "not_utf8": 0, "first_not_utf8": []},
    shards={"train_000000.bin": 100, "train_000001.bin": 30, "val_000000.bin": 20},
    progress=None,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, count in MANIFEST.shards.items():
        write_shard(tmp_path / name, np.arange(count))
    write_manifest(tmp_path, MANIFEST)
    return tmp_path


def test_a_manifest_comes_back_as_it_was_written(folder: Path) -> None:
    assert read_manifest(folder) == MANIFEST
    assert json.loads((folder / "token_shards.json").read_text())["version"] == 1
    (folder / "token_shards.json").unlink()
    assert read_manifest(folder) is None


@pytest.mark.parametrize(("size", "padded"), [(1, 128), (128, 128), (129, 256), (50257, 50304), (65536, 65536)])
def test_the_vocabulary_of_a_model_is_a_multiple_of_128(size: int, padded: int) -> None:
    assert replace(MANIFEST, tokenizer={**MANIFEST.tokenizer, "vocabulary_size": size}).padded_vocabulary == padded


def test_training_takes_splits_and_vocabulary_from_the_folder(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = load_tokens(folder)
    assert (data.vocabulary_size, data.train.token_count, data.validation.token_count) == (1024, 130, 20)
    alone = load_tokens(folder / "train_000000.bin")
    assert (alone.vocabulary_size, alone.train.token_count, alone.validation.token_count) == (1024, 90, 10)


def test_a_folder_that_is_not_as_it_says_is_refused(folder: Path) -> None:
    require_whole(folder, MANIFEST)
    (folder / "train_000001.bin").unlink()
    with pytest.raises(
        ValueError, match=r"token_shards\.json in 1 shards\. The first is train_000001\.bin, with no to"
    ):
        load_tokens(folder)
    write_shard(folder / "train_000001.bin", np.arange(31))
    write_shard(folder / "x.bin", np.arange(5))
    with pytest.raises(
        ValueError, match=r"in 2 shards\. The first is .*, with 31 tokens where the manifest says 30\. R"
    ):
        load_tokens(folder)
    write_shard(folder / "train_000001.bin", np.arange(30))
    with pytest.raises(ValueError, match=r"The first is x\.bin, with 5 tokens where the manifest says none\. Restore"):
        load_tokens(folder)


def test_a_folder_that_is_still_being_prepared_is_refused(folder: Path) -> None:
    write_manifest(folder, replace(MANIFEST, shards={}, progress={"place": [0, 0]}))
    with pytest.raises(ValueError, match=r"the preparation of .* has not finished; run its `steadydecay prepare` com"):
        load_tokens(folder)
    for shard in folder.glob("*.bin"):
        shard.unlink()
    with pytest.raises(ValueError, match="has not finished"):
        load_tokens(folder)
