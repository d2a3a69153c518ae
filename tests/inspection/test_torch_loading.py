"""Why torch refuses a file, in words."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from steadydecay.inspection.torch_loading import load

# What torch 2.13 says, and what a reader is told.
SAID = {
    "``torch.nested`` and ``torch._dynamo`` must be imported to load nested jagged tensors (NJTs)": "jagged nested",
    "``torch.distributed.tensor`` must be imported to load DTensors": "distributed tensors, of which each process has",
    "Unsupported operand 149": "is pickled in a newer protocol than torch.load reads safely",
    "Unsupported global: GLOBAL argparse.Namespace was not an allowed global": "contains argparse.Namespace, but only",
    "Cannot use ``weights_only=True`` with files saved in the legacy .tar format": "is from torch before",
}


@pytest.mark.parametrize("said", SAID)
def test_what_torch_says_is_told_in_words(tmp_path: Path, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise pickle.UnpicklingError(f"Weights only load failed. This file can still be loaded ... \n\t{said}")

    torch.save({"a": torch.ones(2)}, tmp_path / "model.pt")
    monkeypatch.setattr(torch, "load", refuse)
    with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        load(tmp_path / "model.pt")
    assert SAID[said] in str(caught.value) and "damaged" not in str(caught.value)


def test_real_newer_protocols_are_told(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "model.pt", pickle_protocol=4)
    with pytest.raises(ValueError, match=r"is pickled in a newer protocol .*; save it again without pickle_protocol"):
        load(tmp_path / "model.pt")


def test_nothing_is_warned_of(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "model.pt", pickle_protocol=3)
    assert torch.equal(load(tmp_path / "model.pt").content["a"], torch.ones(2))
    torch.save({"a": torch.ones(2)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert torch.equal(load(tmp_path / "old.pt").content["a"], torch.ones(2))
    assert not recwarn.list
