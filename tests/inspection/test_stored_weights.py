"""Every kind of file that holds weights, and every kind that does not."""

import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from steadydecay.inspection import stored_weights as weights_module
from steadydecay.inspection.checkpoint_files import found_files
from steadydecay.inspection.stored_weights import Weights, found_weights
from steadydecay.recipes import checkpoint

MATRIX = torch.arange(12.0).reshape(3, 4)
TYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]


def opened(path: Path) -> Weights:
    return found_weights(found_files(path))


def values(path: Path) -> dict[str, Tensor]:
    return {weight.name: tensor.double() for weight, tensor in opened(path).tensors()}


def saved(content: Any, path: Path) -> Path:
    torch.save(content, path)
    return path


# What is read


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_every_floating_point_type_is_read(tmp_path: Path, dtype: torch.dtype, suffix: str) -> None:
    path = tmp_path / f"model.{suffix}"
    content = {"a.weight": MATRIX.to(dtype)}
    save_file(content, path) if suffix == "safetensors" else torch.save(content, path)
    (weight,) = opened(path).listed
    assert (weight.shape, weight.dtype) == ((3, 4), str(dtype).removeprefix("torch."))
    assert torch.equal(values(path)["a.weight"], MATRIX.to(dtype).double())


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_what_is_no_weight_is_left_out_and_counted(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model.{suffix}"
    content = {
        "a.weight": MATRIX,
        "steps": torch.tensor(3),
        "mask": torch.ones(2, dtype=torch.bool),
        "empty": torch.zeros(0, 4),
        "complex": torch.zeros(2, dtype=torch.complex64),
        "scale": torch.tensor(0.5),
    }
    save_file(content, path) if suffix == "safetensors" else torch.save(content, path)
    found = opened(path)
    assert [weight.name for weight in found.listed] == ["a.weight", "scale"]
    assert sorted(found.other_names) == ["complex", "empty", "mask", "steps"]


@pytest.mark.parametrize("key", ["model", "state_dict", "model_state_dict", "module"])
def test_weights_are_found_under_the_usual_keys(tmp_path: Path, key: str) -> None:
    extra = torch.ones(3)
    path = saved({key: {"a.weight": MATRIX}, "ema": {"a.weight": extra}, "epoch": 3}, tmp_path / "last.ckpt")
    assert torch.equal(values(path)["a.weight"], MATRIX.double())


def test_nested_dicts_get_dotted_names_and_optimizers_are_no_weights(tmp_path: Path) -> None:
    content = {"net": {"up": {"weight": MATRIX}}, "optimizer": {"state": {0: {"m": MATRIX + 1}}}, 3: MATRIX + 2}
    assert list(values(saved(content, tmp_path / "x.pth"))) == ["net.up.weight", "3"]


def test_a_dict_that_holds_itself_is_read_once(tmp_path: Path) -> None:
    content: dict[str, Any] = {"a": MATRIX}
    content |= {f"again{i}": content for i in range(10)}
    assert list(values(saved(content, tmp_path / "x.pt"))) == ["a"]


def test_tied_weights_are_listed_once_with_all_their_names(tmp_path: Path) -> None:
    content = {"embedding.weight": MATRIX, "lm_head.weight": MATRIX, "other.weight": MATRIX.clone(), "part": MATRIX[:2]}
    found = opened(saved(content, tmp_path / "model.pt"))
    assert [(weight.name, weight.tied) for weight in found.listed] == [
        ("embedding.weight", ("lm_head.weight",)),
        ("other.weight", ()),
        ("part", ()),
    ]
    assert found.other_names == []


def test_parameters_and_strided_weights_are_read_as_they_are(tmp_path: Path) -> None:
    path = saved({"a": nn.Parameter(MATRIX.T), "b": MATRIX[:, ::2]}, tmp_path / "model.pt")
    found = values(path)
    assert torch.equal(found["a"], MATRIX.T.double()) and torch.equal(found["b"], MATRIX[:, ::2].double())
    assert not any(tensor.requires_grad for tensor in found.values())


def test_a_tensor_without_its_own_values_is_left_out(tmp_path: Path) -> None:
    content = {
        "a": MATRIX,
        "huge": torch.zeros(1).expand(10**6, 10**6),
        "meta": torch.zeros(3, device="meta"),
        "sparse": MATRIX.to_sparse(),
    }
    found = opened(saved(content, tmp_path / "model.pt"))
    assert [weight.name for weight in found.listed] == ["a"] and found.other_names == ["huge", "meta", "sparse"]


def test_shards_are_read_through_their_index(tmp_path: Path) -> None:
    save_file({"b": MATRIX, "unlisted": MATRIX.clone()}, tmp_path / "one.safetensors")
    save_file({"a": MATRIX + 1, "count": torch.tensor(1)}, tmp_path / "two.safetensors")
    weight_map = {"b": "one.safetensors", "a": "two.safetensors", "count": "two.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert [weight.name for weight in opened(tmp_path).listed] == ["a", "b"]
    assert torch.equal(values(tmp_path)["a"], MATRIX.double() + 1)


def test_an_index_that_names_a_tensor_that_is_not_there_is_refused(tmp_path: Path) -> None:
    save_file({"b": MATRIX}, tmp_path / "one.safetensors")
    weight_map = {"b": "one.safetensors", "lost": "one.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(ValueError, match=r"says that one\.safetensors contains 'lost', but it does not"):
        opened(tmp_path)


def test_safetensors_are_listed_in_the_order_of_layers(tmp_path: Path) -> None:
    names = [f"layers.{i}.weight" for i in (10, 2, 1)]
    save_file({name: MATRIX.clone() for name in names}, tmp_path / "m.safetensors")
    found = opened(tmp_path)
    assert [weight.name for weight in found.listed] == names[::-1] and not found.in_model_order
    ordered = opened(saved({name: MATRIX.clone() for name in names}, tmp_path / "m.pt"))
    assert [weight.name for weight in ordered.listed] == names and ordered.in_model_order


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_a_file_is_mapped_anew_before_too_much_of_it_was_read(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = {f"{i:02}": torch.full((4, 4), float(i)) for i in range(20)}
    path = tmp_path / f"model.{suffix}"
    save_file(content, path) if suffix == "safetensors" else torch.save(content, path)
    times: list[Path] = []
    module: Any = getattr(weights_module, "safetensors_file" if suffix == "safetensors" else "torch_file")
    real: Callable[[Path], Any] = module.opened
    monkeypatch.setattr(module, "opened", lambda path: times.append(path) or real(path))
    monkeypatch.setattr(weights_module, "MOST_MAPPED_BYTES", 64 * 4)
    assert [float(tensor[0, 0]) for tensor in values(path).values()] == list(range(20))
    # 5 tensors of 64 bytes are more than 256.
    assert len(times) == 4


def test_nothing_in_a_file_is_changed_by_reading(tmp_path: Path) -> None:
    path = saved({"a": MATRIX}, tmp_path / "model.pt")
    before, modified = path.read_bytes(), path.stat().st_mtime_ns
    for _, tensor in opened(path).tensors():
        tensor.add_(1)
    assert path.read_bytes() == before and path.stat().st_mtime_ns == modified


# What is refused


class Hostile:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_hostile_pickle_is_refused_and_not_executed(tmp_path: Path, wrapped: bool) -> None:
    hostile = Hostile(tmp_path / "executed")
    path = saved({"model": {"a": MATRIX}, "extra": hostile} if wrapped else hostile, tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"model\.pt contains \w+\.mkdir, but only tensors.*Nothing of it was loaded"):
        opened(path)
    assert not (tmp_path / "executed").exists()
    # The same pickle does what it says where it is not refused.
    torch.load(path, weights_only=False)
    assert (tmp_path / "executed").exists()


def test_a_whole_module_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = saved(nn.Linear(2, 2), tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"contains torch\.nn\.modules\.linear\.Linear, .*save model\.state_dict\(\)"):
        opened(path)


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_a_file_that_is_cut_short_is_named(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"model.{suffix}"
    content = {"a": torch.ones(30, 30)}
    save_file(content, path) if suffix == "safetensors" else torch.save(content, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(
        ValueError, match=rf"model\.{suffix} is not a complete file of|not a complete safetensors file"
    ) as caught:
        opened(path)
    assert "\n" not in str(caught.value) and "truncated" in str(caught.value)


FOREIGN = {
    "empty.pt": (b"", r"is empty \(0 bytes\)"),
    "empty.safetensors": (b"", r"is empty \(0 bytes\)"),
    "picture.png": (b"\x89PNG\r\n\x1a\n" + bytes(50), r"is neither safetensors nor a file of torch.save.*PNG"),
    "picture.safetensors": (b"\x89PNG\r\n\x1a\n" + bytes(50), "is not a complete safetensors file"),
    "text.txt": (b"weights\n", "is neither safetensors nor a file of torch.save"),
    "old.bin": (pickle.dumps({"a": 1}), "is a pickle that torch.save did not write"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_file_is_named(tmp_path: Path, name: str) -> None:
    content, message = FOREIGN[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} {message}"):
        opened(path)


def test_a_hostile_file_of_an_old_torch_is_refused_and_not_executed(tmp_path: Path) -> None:
    path = tmp_path / "old.pt"
    torch.save(Hostile(tmp_path / "executed"), path, _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match=r"old\.pt contains \w+\.mkdir, but only tensors"):
        opened(path)
    assert not (tmp_path / "executed").exists()


def test_another_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.docx"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("word/document.xml", "<a/>")
    with pytest.raises(ValueError, match=r"text\.docx is not a complete file of torch\.save.*another zip"):
        opened(path)


def header(entries: dict[str, Any], data: int = 64, length: int | None = None) -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + bytes(data)


def entry(shape: list[int], start: int, end: int) -> dict[str, Any]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}


HOSTILE_HEADERS = {
    "a header longer than the file": header({"a": entry([4, 4], 0, 64)}, length=2**40),
    "a header of 2⁶⁴-1 bytes": header({"a": entry([4, 4], 0, 64)}, length=2**64 - 1),
    "offsets that overlap": header({"a": entry([4, 4], 0, 64), "b": entry([4, 4], 0, 64)}),
    "offsets beyond the file": header({"a": entry([4, 4], 0, 64)}, data=8),
    "offsets that run backwards": header({"a": entry([4, 4], 64, 0)}),
    "a shape that is not its size": header({"a": entry([2**40, 2**40], 0, 64)}),
    "bytes after the end": header({"a": entry([4, 4], 0, 64)}, data=128),
    "a shape of strings": header({"a": {"dtype": "F32", "shape": ["4"], "data_offsets": [0, 64]}}),
    "an unknown type": header({"a": {"dtype": "X9", "shape": [4], "data_offsets": [0, 64]}}),
}


@pytest.mark.parametrize("case", HOSTILE_HEADERS)
def test_a_hostile_header_is_refused(tmp_path: Path, case: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(HOSTILE_HEADERS[case])
    with pytest.raises(ValueError, match=r"model\.safetensors is not a complete safetensors file"):
        opened(path)


def test_a_tensor_that_claims_more_than_its_memory_is_refused(tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.pt", tmp_path / "model.pt"
    torch.save({"w": torch.ones(4, 4)}, whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            # The shape (4, 4), as pickle writes it, becomes (32767, 32767).
            changed = (
                content.replace(b"K\x04K\x04\x86", b"M\xff\x7fM\xff\x7f\x86") if name.endswith(".pkl") else content
            )
            target.writestr(name, changed)
    with pytest.raises(ValueError, match="is not a complete file of"):
        opened(path)


@pytest.mark.parametrize("content", [{}, [MATRIX], "text", {"a": 3}, MATRIX, {"a": {"b": {}}}])
def test_a_file_without_a_named_tensor_says_so(tmp_path: Path, content: Any) -> None:
    path = saved(content, tmp_path / "model.pt")
    with pytest.raises(ValueError, match=rf"contains a {type(content).__name__} without a named tensor; save model"):
        opened(path)


def test_a_file_of_other_tensors_says_so(tmp_path: Path) -> None:
    save_file({"ids": torch.arange(3)}, tmp_path / "ids.safetensors")
    with pytest.raises(ValueError, match=r"ids\.safetensors contains no floating-point weight \(1 other tensors\)"):
        opened(tmp_path)


def test_the_state_of_an_optimizer_is_no_model(tmp_path: Path) -> None:
    path = saved(torch.optim.AdamW([nn.Parameter(MATRIX)]).state_dict(), tmp_path / "optimizer.pt")
    with pytest.raises(
        ValueError, match=r"optimizer\.pt contains the state of an optimizer but no weights; give the model"
    ):
        opened(path)


def test_our_own_checkpoint_must_match_the_checksum_in_its_name(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 3, {"model": {"a": torch.ones(64, 64)}})
    assert list(values(path)) == ["a"]
    content = bytearray(path.read_bytes())
    content[content.index(struct.pack("<f", 1.0) * 4) + 8] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"is damaged: its content does not match the checksum in its name"):
        opened(path)
