"""Load a file of torch.save without executing anything in it, and without more memory than its size explains."""

import re
import warnings
from pathlib import Path
from typing import Any, NamedTuple, final

import torch

from steadydecay.inspection.refusal import Refusal
from steadydecay.inspection.torch_archive import require_bounded
from steadydecay.run_log.unicode_path import unicode_path

UNSAFE_NAME = re.compile(r"GLOBAL ([\w.]+)")
# What torch says about files that it cannot read safely, and what that means.
REASONS = {
    "legacy .tar format": "is from torch before version 0.1.10; if you trust it, load it and save its state_dict",
    "unsupported operand": (
        "is pickled in a newer protocol than torch.load reads safely; save it again without pickle_protocol"
    ),
    "load dtensors": (
        "contains distributed tensors, of which each process has a piece; gather them with "
        "torch.distributed.checkpoint.state_dict.get_model_state_dict(model, options=StateDictOptions("
        "full_state_dict=True)) and save that"
    ),
    "jagged tensors": "contains jagged nested tensors, which are not weights; save model.state_dict() without them",
}


@final
class TorchFile(NamedTuple):
    """What a file holds.

    Attributes:
        content: tensors, numbers, strings and containers of them.
        is_mapped: whether values are read from the file when they are used; otherwise all are in memory.
    """

    content: Any
    is_mapped: bool


def load(path: Path) -> TorchFile:
    """Load a file of torch.save: mapped, unless its records are compressed or it is of torch before version 1.6.

    Raises:
        ValueError: another kind of file, a damaged one, one that takes far more memory than it has bytes, or one that
            holds objects whose loading could execute code; the message names it and a remedy.
    """
    try:
        is_mapped = require_bounded(path)
        return TorchFile(_loaded(path, is_mapped), is_mapped)
    except Refusal as refusal:
        raise ValueError(f"{path} {refusal}") from refusal
    # A damaged or hostile file may fail in any way.
    except Exception as error:
        raise ValueError(f"{path} {_told(str(error), type(error).__name__)}") from error


def mapped(path: Path) -> Any:
    """The content of a file that `load` has mapped, mapped anew."""
    return _loaded(path, is_mapped=True)


def _loaded(path: Path, is_mapped: bool) -> Any:
    with warnings.catch_warnings():
        # Of old storages and pickles: nothing that a reader of norms can act on.
        warnings.simplefilter("ignore")
        if is_mapped:
            with unicode_path(path) as named:
                return torch.load(named, map_location="cpu", weights_only=True, mmap=True)
        with path.open("rb") as file:
            return torch.load(file, map_location="cpu", weights_only=True)


def _told(text: str, kind: str) -> str:
    for mark, told in REASONS.items():
        if mark in text.lower():
            return told
    if "weights only" in text.lower():
        found = UNSAFE_NAME.search(text)
        what = f"contains {found[1]}" if found else "is damaged, or contains more than it may"
        return (
            f"{what}, but only tensors, numbers, strings and containers of them are read, because loading anything "
            "else "
            "could execute code. Nothing of it was loaded. If you trust it, load it yourself and save "
            "model.state_dict()"
        )
    reason = text.partition("\n")[0].partition(". ")[0] or kind
    return f"is not a complete file of torch.save ({reason}); it is truncated or damaged, so copy it again"
