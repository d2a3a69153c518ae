"""Which files a path means."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from steadydecay.inspection.checkpoint_files import found_files
from steadydecay.recipes import checkpoint

WEIGHTS = {"a.weight": torch.ones(2, 2)}


def index(folder: Path, weight_map: object) -> Path:
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": weight_map}))
    return path


def test_a_file_is_itself_with_the_optimizer_beside_it(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "model.safetensors")
    torch.save({}, tmp_path / "optimizer.pt")
    found = found_files(tmp_path / "model.safetensors")
    assert found.shards == {tmp_path / "model.safetensors": None}
    assert found.optimizer == tmp_path / "optimizer.pt"
    assert found_files(tmp_path / "optimizer.pt").optimizer is None


def test_a_run_folder_is_its_newest_checkpoint(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "checkpoints", 9, {"model": WEIGHTS})
    newest = checkpoint.save(tmp_path / "checkpoints", 10, {"model": WEIGHTS})
    assert found_files(tmp_path).main == newest
    assert found_files(tmp_path / "checkpoints").main == newest


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_folder_of_transformers_is_its_model_whatever_lies_beside(tmp_path: Path, name: str) -> None:
    for other in (name, "training_args.bin", "optimizer.pt", "adapter.safetensors"):
        (tmp_path / other).touch()
    assert found_files(tmp_path).main == tmp_path / name


def test_a_folder_with_one_checkpoint_of_another_name_is_that_one(tmp_path: Path) -> None:
    for name in ("last.ckpt", "rng_state_0.pth", "scheduler.pt", "notes.txt"):
        (tmp_path / name).touch()
    assert found_files(tmp_path).main == tmp_path / "last.ckpt"


def test_an_index_gives_the_names_of_each_shard(tmp_path: Path) -> None:
    for name in ("one.safetensors", "two.safetensors"):
        save_file(WEIGHTS, tmp_path / name)
    index(tmp_path, {"a": "two.safetensors", "b": "one.safetensors", "c": "two.safetensors"})
    expected = {tmp_path / "two.safetensors": ["a", "c"], tmp_path / "one.safetensors": ["b"]}
    assert found_files(tmp_path).shards == expected


def test_nothing_there_is_an_error_with_the_path(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent does not exist; give a \.safetensors or \.pt file"):
        found_files(tmp_path / "absent")


def test_a_folder_without_a_checkpoint_says_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="contains nothing like a checkpoint, but it must contain one checkpoint"):
        found_files(tmp_path)
    (tmp_path / "checkpoint-20").mkdir()
    with pytest.raises(ValueError, match=r"contains checkpoint-20, but .*; name the file to read"):
        found_files(tmp_path)
    for name in ("a.pt", "b.pt", "c.pt", "d.pt"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"contains a\.pt, b\.pt, c\.pt, but"):
        found_files(tmp_path)


def test_a_device_is_not_read() -> None:
    with pytest.raises(ValueError, match="/dev/zero is not a regular file"):
        found_files(Path("/dev/zero"))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"weight_map": 3}', "[" * 100_000])
def test_json_that_is_no_index_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"config\.json is not an index of shards \(.*it needs a weight_map"):
        found_files(path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_an_index_is_read_in_every_encoding_of_json(tmp_path: Path, encoding: str) -> None:
    save_file(WEIGHTS, tmp_path / "gewicht-ä.safetensors")
    path = tmp_path / "model.safetensors.index.json"
    text = json.dumps({"weight_map": {"a.weight": "gewicht-ä.safetensors"}}, ensure_ascii=False)
    path.write_text(text, encoding=encoding)
    assert found_files(tmp_path).shards == {tmp_path / "gewicht-ä.safetensors": ["a.weight"]}


@pytest.mark.parametrize("deep", ['{"a": ', "["])
def test_an_index_nested_without_end_is_refused(tmp_path: Path, deep: str) -> None:
    path = tmp_path / "model.safetensors.index.json"
    path.write_text('{"weight_map": {"a": ' + deep * 100_000)
    with pytest.raises(ValueError, match=r"is not an index of shards \(RecursionError\)"):
        found_files(path)


def test_an_index_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    save_file(WEIGHTS, tmp_path / "secret.safetensors")
    path = index(tmp_path / "inner", {"a": "../secret.safetensors"})
    with pytest.raises(ValueError, match=r"names the shard '\.\./secret\.safetensors', which is not a file beside it"):
        found_files(path)
    shutil.copy(tmp_path / "secret.safetensors", tmp_path / "inner")
    index(tmp_path / "inner", {"a": str(tmp_path / "secret.safetensors")})
    with pytest.raises(ValueError, match="which is not a file beside it"):
        found_files(path)


def test_a_shard_that_is_missing_and_an_index_of_none_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="names the shard 'lost', which is not a file beside it; copy all shards there"
    ):
        found_files(index(tmp_path, {"a": "lost"}))
    with pytest.raises(ValueError, match="names no shards"):
        found_files(index(tmp_path, {}))
