"""Small pickles that would take much, and real ones, which take little."""

import io
import pickle
import struct
import time
from collections import Counter, OrderedDict
from typing import Any

import pytest
import torch
from torch import nn

from steadydecay.inspection.pickle_bounds import StorageClaim, storage_claims
from steadydecay.inspection.refusal import Refusal

MOST = 2**22


def claims(text: bytes, most_bytes: int = MOST) -> list[StorageClaim]:
    return list(storage_claims(io.BytesIO(text), most_bytes))


def content_of(state: Any) -> bytes:
    file = io.BytesIO()
    torch.save(state, file)
    return torch.PyTorchFileReader(io.BytesIO(file.getvalue())).get_record("data.pkl")


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def doubled(times: int) -> bytes:
    """() in a tuple twice, that in a tuple twice, ...: 2^times entries in five bytes each time."""
    return b")q\x00" + b"".join(
        b"h" + bytes([i]) * 1 + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(times)
    )


ENCODE = b"c_codecs\nencode\nq\x01" + text("latin1") + b"q\x02" + text("a" * 10**5) + b"q\x03"
HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty sets": (b"\x80\x02](" + b"\x8f" * 30_000 + b"e.", "unpacks to more than 4,194,304 bytes"),
    "empty lists": (b"\x80\x02](" + b"]" * 70_000 + b"e.", "unpacks to more than"),
    "dicts of one": (b"\x80\x02](" + b"}K\x00K\x00s" * 30_000 + b"e.", "unpacks to more than"),
    "objects": (b"\x80\x02](ccollections\nOrderedDict\nq\x01" + b"h\x01)R" * 5_000 + b"e.", "unpacks to more than"),
    "copies of a text": (b"\x80\x02](" + ENCODE + b"h\x01h\x03h\x02\x86R" * 1000 + b"e.", "unpacks to more than"),
    "copies of a list": (
        b"\x80\x02](](" + b"K\x01" * 10_000 + b"eq\x01cbuiltins\nset\nq\x02" + b"h\x02h\x01\x85R" * 100 + b"e.",
        "unpacks to more than",
    ),
    "copies of a state": (
        b"\x80\x02}("
        + b"".join(b"M" + struct.pack("<H", i) + b"K\x01" for i in range(10_000))
        + b"uq\x01"
        + b"](ccollections\nOrderedDict\nq\x02"
        + b"h\x02)Rh\x01b" * 100
        + b"e.",
        "unpacks to more than",
    ),
    "a byte array of a length": (b"\x80\x02cbuiltins\nbytearray\nJ\x00\x00\x00\x30\x85R.", "makes a byte array"),
    "a text in a codec that grows": (
        b"\x80\x02c_codecs\nencode\n" + text("a") + text("utf-32") + b"\x86R.",
        "encodes something other than",
    ),
    "a tensor of a length": (b"\x80\x02ctorch\nFloatTensor\nJ\x00\x00\x00\x30\x85R.", "makes a torch.FloatTensor"),
    "a storage of a length": (b"\x80\x02ctorch.storage\nUntypedStorage\nK\x09\x85\x81.", "makes a torch.storage"),
    "a key of 2^60 tuples": (b"\x80\x02}" + doubled(60) + b"K\x01s.", "unpacks to more than"),
    "a tuple 10^5 deep": (b"\x80\x02)" + b"\x85" * 10**5 + b".", "nests more than 100 tuples"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_would_take_much_is_refused_at_once(case: str) -> None:
    hostile, message = HOSTILE[case]
    start = time.perf_counter()
    with pytest.raises(Refusal, match=f"{message}.*load it yourself and save model"):
        claims(hostile)
    assert time.perf_counter() - start < 10


def test_text_counts_once_for_each_copy_of_it() -> None:
    few = b"\x80\x02](" + ENCODE + b"h\x01h\x03h\x02\x86R" * 10 + b"e."
    assert claims(few) == []
    with pytest.raises(Refusal):
        claims(few, most_bytes=10**6)
    arrays = ENCODE + b"cbuiltins\nbytearray\nq\x04h\x01h\x03h\x02\x86Rq\x05" + b"h\x04h\x05\x85R" * 100
    with pytest.raises(Refusal, match="unpacks to more than"):
        claims(b"\x80\x02](" + arrays + b"e.")


CUT = ["", "80", "8002", "80025d", "800265", "80027d7573", "8002ff", "800252", "800286", "80026100", "4200"]


@pytest.mark.parametrize("damaged", CUT)
def test_a_damaged_pickle_ends_in_an_error_of_its_own(damaged: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        claims(bytes.fromhex(damaged))


def adam(model: nn.Module) -> dict[str, Any]:
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


REAL: dict[str, Any] = {
    "a model": nn.Linear(3, 4).state_dict(),
    "an optimizer": adam(nn.Linear(3, 4)),
    "containers": {"a": [1, 2.5, None, True], "b": (1, (2, (3,))), "c": {1, 2}, "d": OrderedDict(x=Counter("aab"))},
    "bytes": {"a": b"\x00\xff" * 100, "b": bytearray(b"\x00\xff"), "c": bytearray(), "d": b"\x00" * 10**5},
    "others": {"size": torch.Size([2, 3]), "dtype": torch.bfloat16, "device": torch.device("cpu"), "z": 1 + 2j},
    "kinds": {"sparse": torch.eye(3).to_sparse(), "q": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)},
    "a long list": {"losses": [0.5 + i for i in range(20_000)], "text": "a" * 10**6},
}


@pytest.mark.parametrize("case", REAL)
def test_real_content_takes_little(case: str) -> None:
    assert torch.load(_saved(REAL[case]), weights_only=True) is not None
    claims(content_of(REAL[case]), most_bytes=2**24)


def _saved(content: Any) -> io.BytesIO:
    file = io.BytesIO()
    torch.save(content, file)
    file.seek(0)
    return file


def test_storages_are_listed_with_their_entries() -> None:
    shared = torch.ones(3, 4)
    found = claims(content_of({"a": shared, "b": shared.T, "c": torch.ones(2, dtype=torch.bfloat16)}))
    assert set(found) == {StorageClaim("FloatStorage", "0", 12), StorageClaim("BFloat16Storage", "1", 2)}


def test_the_file_is_left_behind_the_pickle() -> None:
    file = io.BytesIO(pickle.dumps([1], 2) + pickle.dumps({"a": 2}, 2) + b"values")
    list(storage_claims(file, MOST))
    list(storage_claims(file, MOST))
    assert file.read() == b"values"
