"""Zips that other tools wrote again, and files of torch before version 1.6."""

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from steadydecay.inspection.checkpoint_files import found_files
from steadydecay.inspection.stored_weights import found_weights
from steadydecay.inspection.torch_loading import load

GENERATOR = torch.Generator().manual_seed(0)
WEIGHTS = {"up.weight": torch.randn(300, 200, generator=GENERATOR), "gain": torch.randn(5, generator=GENERATOR).half()}


def zipped_again(path: Path, method: int, only: str = "", content: Any = WEIGHTS) -> Path:
    file = io.BytesIO()
    torch.save(content, file)
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name), method if only in name else zipfile.ZIP_STORED)
    return path


def values(path: Path) -> dict[str, torch.Tensor]:
    return {weight.name: tensor.clone() for weight, tensor in found_weights(found_files(path)).tensors()}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("only", ["", "/data/", "data.pkl", "/data/1"])
def test_a_zip_that_was_written_again_has_the_same_values(tmp_path: Path, method: int, only: str) -> None:
    found = values(zipped_again(tmp_path / "model.pt", method, only))
    assert all(torch.equal(found[name], one) for name, one in WEIGHTS.items()) and len(found) == 2


def test_only_what_lies_in_the_file_as_it_is_is_mapped(tmp_path: Path) -> None:
    assert load(zipped_again(tmp_path / "stored.pt", zipfile.ZIP_STORED)).is_mapped
    assert not load(zipped_again(tmp_path / "deflated.pt", zipfile.ZIP_DEFLATED, "/data/0")).is_mapped


def test_values_of_a_compressed_file_stay_while_all_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steadydecay.inspection.stored_weights.MOST_MAPPED_BYTES", 1)
    found = values(zipped_again(tmp_path / "model.pt", zipfile.ZIP_DEFLATED))
    assert all(torch.equal(found[name], one) for name, one in WEIGHTS.items())


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("only", ["", "/data/"])
def test_other_compressions_are_refused(tmp_path: Path, method: int, only: str) -> None:
    path = zipped_again(tmp_path / "model.pt", method, only)
    with pytest.raises(ValueError, match=r"is compressed in a way that torch cannot read; unpack it and run zip"):
        load(path)


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    path = zipped_again(tmp_path / "bomb.pt", zipfile.ZIP_DEFLATED, content={"a.weight": torch.zeros(18_000_000)})
    assert path.stat().st_size < 10**5
    with pytest.raises(ValueError, match=r"unpacks to 72,000,\d+ bytes, .* 16 times its size"):
        load(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_pickle_bomb_is_refused(tmp_path: Path, method: int) -> None:
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("a/data.pkl", b"\x80\x02](" + b"\x8f" * 350_000 + b"e.")
    with pytest.raises(ValueError, match=r"bomb\.pt unpacks to more than 6\d|7\d,\d+,\d+ bytes"):
        load(path)


def changed(path: Path, old: bytes, new: bytes, method: int = zipfile.ZIP_STORED) -> Path:
    """A file of ones, with one change in its pickle."""
    file = io.BytesIO()
    torch.save({"w": torch.ones(4, 4), "after": torch.ones(100)}, file)
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(path, "w", method) as target:
        for name in source.namelist():
            content = source.read(name)
            assert not name.endswith(".pkl") or old in content
            target.writestr(name, content.replace(old, new, 1) if name.endswith(".pkl") else content)
    return path


def test_a_tensor_that_reaches_beyond_its_record_is_refused(tmp_path: Path) -> None:
    # 16 entries become 32: torch would map the next record's header as floats.
    path = changed(tmp_path / "model.pt", b"K\x10", b"K\x20")
    with pytest.raises(ValueError, match=r"a tensor needs 128 bytes of its record '0', which has 64"):
        load(path)
    path = changed(tmp_path / "missing.pt", b"X\x01\x00\x00\x000q", b"X\x01\x00\x00\x007q")
    with pytest.raises(ValueError, match=r"record '7', which has 0"):
        load(path)


def test_two_records_of_one_name_are_refused(tmp_path: Path) -> None:
    path = changed(tmp_path / "model.pt", b"K\x10", b"K\x10")
    with zipfile.ZipFile(path, "a") as file:
        folder = file.namelist()[0].partition("/")[0]
        file.writestr(f"{folder}/DATA.PKL", b"\x80\x02}.")
    with pytest.raises(ValueError, match="two of its records have one name"):
        load(path)


# Before version 1.6


def saved_as_old(path: Path, content: Any) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=False)
    return path


def test_a_file_of_an_old_torch_is_read(tmp_path: Path) -> None:
    tied = torch.ones(3, 3)
    content = {"model": WEIGHTS | {"a": tied, "b": tied, "view": tied[1:]}, "epoch": 3}
    path = saved_as_old(tmp_path / "old.pth", content)
    found = values(path)
    assert all(torch.equal(found[name], one) for name, one in WEIGHTS.items())
    listed = {one.name: one.tied for one in found_weights(found_files(path)).listed}
    assert listed == {"up.weight": (), "gain": (), "a": ("b",), "view": ()}


def test_old_shards_are_read_through_their_index(tmp_path: Path) -> None:
    saved_as_old(tmp_path / "one.bin", {"a": torch.ones(2, 2)})
    saved_as_old(tmp_path / "two.bin", {"b": torch.full((2, 2), 2.0)})
    (tmp_path / "pytorch_model.bin.index.json").write_text('{"weight_map": {"a": "one.bin", "b": "two.bin"}}')
    assert {name: float(one[0, 0]) for name, one in values(tmp_path).items()} == {"a": 1.0, "b": 2.0}


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9, 0.999])
def test_an_old_file_that_is_cut_short_says_so(tmp_path: Path, share: float) -> None:
    path = saved_as_old(tmp_path / "old.pth", {"a": torch.ones(40, 40)})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"old\.pth is (not a complete file of torch\.save|a pickle that torch)"):
        load(path)


OLD_CHANGES = {"a larger shape": (b"K\x04K\x04\x86", b"M\xff\x7fM\xff\x7f\x86"), "more entries": (b"K\x10N", b"K\x7fN")}


@pytest.mark.parametrize("case", OLD_CHANGES)
def test_an_old_file_that_claims_more_than_it_holds_is_refused(tmp_path: Path, case: str) -> None:
    path = saved_as_old(tmp_path / "old.pth", {"w": torch.ones(4, 4)})
    content, (old, new) = path.read_bytes(), OLD_CHANGES[case]
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    with pytest.raises(ValueError, match=r"is not a complete file of torch\.save"):
        load(path)


def test_an_old_bomb_is_refused(tmp_path: Path) -> None:
    path = saved_as_old(tmp_path / "old.pth", {"w": torch.ones(4, 4)})
    content = path.read_bytes()
    start = content.index(b"\x80\x02}", 40)
    bomb = b"\x80\x02](" + b"\x8f" * 350_000 + b"e."
    path.write_bytes(content[:start] + bomb + content[start:])
    with pytest.raises(ValueError, match=r"old\.pth unpacks to more than"):
        load(path)


def test_a_hostile_number_of_entries_takes_no_memory(tmp_path: Path) -> None:
    path = saved_as_old(tmp_path / "old.pth", {"w": torch.ones(4, 4)})
    content = path.read_bytes()
    path.write_bytes(content.replace(b"K\x10N", b"\x8a\x08" + struct.pack("<q", 2**60) + b"N", 1))
    with pytest.raises(ValueError, match=r"is not a complete file of torch\.save"):
        load(path)
