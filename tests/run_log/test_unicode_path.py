"""Files whose names are no UTF-8, as old archives unpack them."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from steadydecay.run_log.unicode_path import unicode_path

STRANGE = os.fsdecode(b"r\xe9sum\xe9")


@pytest.mark.parametrize("name", ["plain", "größe 層", STRANGE])
def test_a_file_is_read_by_libraries_that_take_unicode_alone(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    weight = {"w": torch.arange(6.0)}
    with (folder / "a.pt").open("wb") as file:
        torch.save(weight, file)
    save_file(weight, tmp_path / "a.safetensors")
    (tmp_path / "a.safetensors").rename(folder / "a.safetensors")
    with unicode_path(folder / "a.pt") as path:
        mapped = torch.load(path, mmap=True)["w"]
    with unicode_path(folder / "a.safetensors") as path:
        assert torch.equal(load_file(path)["w"], weight["w"])
    assert torch.equal(mapped, weight["w"]), "and stays mapped"
    assert (path == folder / "a.safetensors") == (name != STRANGE)
    assert path.exists() == (name != STRANGE), "the link is gone"
