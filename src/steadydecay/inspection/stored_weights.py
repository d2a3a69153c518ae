"""The weights of a checkpoint, whatever its format, one at a time."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from torch import Tensor

from steadydecay.inspection import safetensors_file, torch_file
from steadydecay.inspection.checkpoint_files import CheckpointFiles
from steadydecay.inspection.plain_names import natural_order
from steadydecay.inspection.stored_weight import StoredWeight
from steadydecay.recipes.checkpoint import CHECKPOINT_NAME

ZIP_START = b"PK\x03\x04"
PICKLE_START = b"\x80"
HEADER_BYTES = 8
# Pages of a mapped file count as memory once read, until the file is mapped anew.
MOST_MAPPED_BYTES = 2**25


@final
@dataclass(frozen=True)
class Weights:
    """The floating-point weights of a checkpoint; values are read by `tensors` alone.

    Attributes:
        by_file: the weights of each file.
        left_out: how many other tensors there are: integers, buffers, empty ones.
        in_model_order: whether the files keep the order of the model's layers; safetensors sorts by name.
        content: what a file of torch.save holds besides, None for others.
    """

    by_file: dict[Path, list[StoredWeight]]
    left_out: int
    in_model_order: bool
    content: Any

    @property
    def listed(self) -> list[StoredWeight]:
        """All weights: in the model's order, or by name where it is not known."""
        found = [one for weights in self.by_file.values() for one in weights]
        return found if self.in_model_order else sorted(found, key=lambda one: natural_order(one.name))

    def tensors(self) -> Iterator[tuple[StoredWeight, Tensor]]:
        """Each weight with its values, file by file. Keep none: what is kept stays in memory."""
        for path, weights in self.by_file.items():
            opened = safetensors_file.opened if _is_safetensors(path) else torch_file.opened
            yield from _tensors(lambda path=path, opened=opened: opened(path), weights)


def found_weights(files: CheckpointFiles) -> Weights:
    """List what the files hold; no values are read but for the checksum in the name of our own checkpoints.

    Raises:
        ValueError: a file of another kind, damaged, hostile or without weights; the message names it and a remedy.
    """
    by_file: dict[Path, list[StoredWeight]] = {}
    left_out, content = 0, None
    for path, names in files.shards.items():
        if _is_safetensors(path):
            weights, others = safetensors_file.listed_weights(path)
        else:
            _require_checksum(path)
            content = torch_file.load(path)
            weights, others = torch_file.listed_weights(content, path)
        by_file[path] = weights if names is None else _named(names, weights, others, path, files.main)
        left_out += others
    if not any(by_file.values()):
        raise ValueError(f"{files.main} holds no floating-point weight ({left_out} other tensors); give a model's file")
    return Weights(by_file, left_out, not any(map(_is_safetensors, by_file)), content)


def _tensors(
    opened: Callable[[], Callable[[str], Tensor]], weights: list[StoredWeight]
) -> Iterator[tuple[StoredWeight, Tensor]]:
    tensor_of, mapped_bytes = opened(), 0
    for weight in weights:
        if mapped_bytes > MOST_MAPPED_BYTES:
            tensor_of, mapped_bytes = opened(), 0
        tensor = tensor_of(weight.name)
        mapped_bytes += tensor.nbytes
        yield weight, tensor
        del tensor


def _named(names: list[str], weights: list[StoredWeight], others: int, path: Path, index: Path) -> list[StoredWeight]:
    held: Mapping[str, StoredWeight] = {name: one for one in weights for name in (one.name, *one.tied)}
    missing = [name for name in names if name not in held]
    if len(missing) > others:
        raise ValueError(f"{index} says that {path.name} holds {missing[0]!r}, which it does not; copy both again")
    return list(dict.fromkeys(held[name] for name in names if name in held))


def _is_safetensors(path: Path) -> bool:
    """By the first bytes, whatever the name says; ValueError for a file of neither kind."""
    with path.open("rb") as file:
        start = file.read(HEADER_BYTES + 1)
    if start.startswith(ZIP_START):
        return False
    if start and (path.suffix == ".safetensors" or start[HEADER_BYTES:] == b"{"):
        return True
    raise ValueError(f"{path} {_foreign(start)}; give a .safetensors file or one of torch.save")


def _foreign(start: bytes) -> str:
    if not start:
        return "is empty (0 bytes)"
    if start.startswith(PICKLE_START):
        return "is a bare pickle, as torch.save wrote before version 1.6: load it where you trust it and save it again"
    return f"is neither safetensors nor a zip of torch.save: it starts with {start!r}"


def _require_checksum(path: Path) -> None:
    named = CHECKPOINT_NAME.fullmatch(path.name)
    if named is None:
        return
    with path.open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    if not checksum.startswith(named[2]):
        raise ValueError(
            f"{path} is damaged: its content does not match the checksum in its name; take another checkpoint"
        )
