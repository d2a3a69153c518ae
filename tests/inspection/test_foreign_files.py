"""What other files are said to be, and that the remedies work."""

import gzip
import io
import pickle
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.distributed.checkpoint.state_dict_saver import save as save_distributed

from steadydecay.inspection.checkpoint_files import found_files
from steadydecay.inspection.stored_weights import found_weights
from steadydecay.inspection.torch_loading import load


def message(path: Path) -> str:
    with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        found_weights(found_files(path))
    return str(caught.value)


def write_tar(path: Path) -> None:
    with tarfile.open(path, "w") as file:
        file.addfile(tarfile.TarInfo("model.pt"))


def write_zip(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, "x")


def write_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.ones(3))


def write_arrays(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, np.ones(3))


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
FOREIGN: dict[str, tuple[Callable[[Path], object], str]] = {
    "model.safetensors": (lambda path: path.write_bytes(POINTER), "is a Git LFS pointer .*; run git lfs pull"),
    "pytorch_model.bin": (lambda path: path.write_bytes(b"<!DOCTYPE html><html>"), "is a web page .*; download"),
    "page.pt": (lambda path: path.write_bytes(b"<html>"), "is a web page"),
    "model.gguf": (lambda path: path.write_bytes(b"GGUF\x03\0\0\0" + bytes(40)), r"is a GGUF file of llama\.cpp"),
    "model.h5": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(40)), "is an HDF5 file"),
    "model.pt.gz": (
        lambda path: path.write_bytes(gzip.compress(b"x")),
        "is compressed with gzip; unpack it with gunzip",
    ),
    "model.pth.tar": (write_tar, "is a tar archive; unpack it"),
    "array.npy": (write_array, "is a NumPy array"),
    "arrays.npz": (write_arrays, "is an archive of NumPy arrays"),
    "model.zip": (lambda path: write_zip(path, "best/model.pt"), r"unpack it .* such as best/model\.pt"),
    "flat.pt": (lambda path: write_zip(path, "data.pkl", "data/0"), "was packed without the folder .* zip -r -0"),
    "apple.pt": (lambda path: write_zip(path, "a/data.pkl", "__MACOSX/a"), "contains __MACOSX/a outside .*zip -d"),
    "text.docx": (lambda path: write_zip(path, "word/a.xml"), r"another zip, which contains word/a\.xml"),
    "package.pt": (lambda path: write_zip(path, "a/.data/extern_modules"), r"is a package of torch\.package"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_file_is_said_to_be_what_it_is(tmp_path: Path, name: str) -> None:
    write, expected = FOREIGN[name]
    write(tmp_path / name)
    text = message(tmp_path / name)
    assert text.startswith(f"{tmp_path / name} ")
    with pytest.raises(ValueError, match=expected):
        raise ValueError(text)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(4, 3)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.up(batch)


@pytest.mark.parametrize("how", ["trace", "script"])
def test_torchscript_is_named_and_its_remedy_works(tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model, path = Model(), tmp_path / "model.pt"
    program = torch.jit.trace(model, torch.ones(1, 4)) if how == "trace" else torch.jit.script(model)
    torch.jit.save(program, path)
    text = message(path)
    assert "is a TorchScript program" in text and "truncated" not in text
    command = text.partition("run ")[2].partition(" and give")[0]
    exec(command, {"torch": torch, "path": path})
    assert [one.name for one in found_weights(found_files(tmp_path / "model.pt")).listed] == ["up.weight", "up.bias"]


def test_an_exported_program_is_named_and_its_remedy_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "program.pt2"
    torch.export.save(torch.export.export(Model(), (torch.ones(1, 4),)), path)
    text = message(path)
    assert "is a program of torch.export" in text
    exec(text.partition("run ")[2].partition(" and give")[0], {"torch": torch, "path": path})
    assert [one.name for one in found_weights(found_files(tmp_path / "model.pt")).listed] == ["up.weight", "up.bias"]


def test_a_distributed_checkpoint_is_named_and_its_remedy_works(tmp_path: Path) -> None:
    folder, model = tmp_path / "run" / "step-5", Model()
    save_distributed({"model": model.state_dict()}, checkpoint_id=folder, no_dist=True)
    texts = [message(path) for path in (folder, folder.parent, folder / ".metadata", folder / "__0_0.distcp")]
    (folder / "meta.pt").write_bytes(b"Lightning's")
    assert message(folder) == texts[0]
    for text in texts:
        assert "is part of a checkpoint of torch.distributed.checkpoint" in text and f"dcp_to_torch {folder}" in text
    command = texts[0].partition("run python ")[2].partition(" and give")[0].split()
    subprocess.run([sys.executable, *command], check=True, cwd=tmp_path, capture_output=True)
    found = found_weights(found_files(tmp_path / "model.pt"))
    values = {weight.name: tensor.clone() for weight, tensor in found.tensors()}
    assert all(torch.equal(values[name], one) for name, one in model.state_dict().items()) and len(values) == 2


def test_a_folder_of_deepspeed_is_named(tmp_path: Path) -> None:
    (tmp_path / "zero_to_fp32.py").touch()
    (tmp_path / "global_step5").mkdir()
    assert "is part of a DeepSpeed checkpoint" in message(tmp_path)


@pytest.mark.parametrize("name", ["bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt", "renamed.pt"])
def test_a_piece_of_deepspeed_is_named(name: str, tmp_path: Path) -> None:
    path = tmp_path / "global_step5" / name
    path.parent.mkdir()
    groups = [torch.ones(9)]
    state = {"base_optimizer_state": [], "single_partition_of_fp32_groups": groups, "zero_stage": 2}
    torch.save({"optimizer_state_dict": state, "ds_config": {}, "ds_version": "0.18"}, path)
    text = message(path)
    assert "is part of a DeepSpeed checkpoint" in text and f"python {tmp_path / 'zero_to_fp32.py'} {tmp_path}" in text


def test_what_trainer_saves_beside_a_model_is_named(tmp_path: Path) -> None:
    optimizer = torch.optim.AdamW(Model().parameters())
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step)),
        torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 9),
    ]
    for schedule in schedules:
        torch.save(schedule.state_dict(), tmp_path / "scheduler.pt")
        assert "contains the state of a learning rate schedule, but no weights; give the model" in message(
            tmp_path / "scheduler.pt"
        )
    scaler = {"scale": 65536.0, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 2000}
    torch.save(scaler, tmp_path / "scaler.pt")
    assert "contains the state of a GradScaler, but no weights" in message(tmp_path / "scaler.pt")


def test_a_model_beside_pieces_is_read(tmp_path: Path) -> None:
    save_distributed({"o": torch.ones(2)}, checkpoint_id=tmp_path / "optimizer_0", no_dist=True)
    torch.save({"a.weight": torch.ones(2, 2)}, tmp_path / "pytorch_model.bin")
    assert found_files(tmp_path).main.name == "pytorch_model.bin"


def test_pickles_of_other_writers_and_protocols_are_named(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps({"a": [1.0]}))
    assert "is a pickle that torch.save did not write" in message(tmp_path / "model.pkl")
    for is_zip in (True, False):
        path = tmp_path / f"newer{is_zip}.pt"
        torch.save({"a": torch.ones(2)}, path, pickle_protocol=4, _use_new_zipfile_serialization=is_zip)
        text = message(path)
        assert "damaged" not in text and "pickle" in text


def test_a_header_of_128_bytes_is_no_pickle(tmp_path: Path) -> None:
    path = tmp_path / "model"
    for extra in range(128):
        save_file({"a" * (1 + extra): torch.ones(2, 2)}, path)
        if path.read_bytes()[0] == 0x80:
            break
    assert path.read_bytes()[:8] == (128).to_bytes(8, "little")
    assert len(found_weights(found_files(path)).listed) == 1


def test_a_file_of_torch_is_read_under_the_suffix_of_another(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "renamed.safetensors")
    assert torch.equal(load(tmp_path / "renamed.safetensors").content["a"], torch.ones(2))
    content = io.BytesIO()
    torch.save({"a": torch.ones(2)}, content)
    (tmp_path / "model.zip").write_bytes(content.getvalue())
    assert torch.equal(load(tmp_path / "model.zip").content["a"], torch.ones(2))
