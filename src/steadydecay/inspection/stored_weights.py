"""The weights of a checkpoint in any format, one at a time."""

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, final

from torch import Tensor

from steadydecay.inspection import safetensors_file, torch_file
from steadydecay.inspection.checkpoint_files import CheckpointFiles
from steadydecay.inspection.foreign_files import START_BYTES, foreign
from steadydecay.inspection.plain_names import natural_order
from steadydecay.inspection.stored_weight import StoredWeight
from steadydecay.inspection.torch_archive import PICKLE_START, ZIP_START
from steadydecay.inspection.torch_loading import load
from steadydecay.recipes.checkpoint import CHECKPOINT_NAME

HEADER_BYTES = 8
Tensors = Callable[[str], Tensor]
# Pages of a mapped file count as memory once read, until the file is mapped anew.
MOST_MAPPED_BYTES = 2**25


@final
@dataclass(frozen=True)
class Weights:
    """The floating-point weights of a checkpoint; values are read by `tensors` alone.

    Attributes:
        by_file: the weights of each file.
        other_names: of tensors that are not in floating point, empty or not dense.
        in_model_order: whether the files keep the order of the model's layers; safetensors sorts by name.
        content: what a file of torch.save holds besides, None for others.
        in_memory: files that cannot be mapped, and the function from name to tensor of each.
    """

    by_file: dict[Path, list[StoredWeight]]
    other_names: list[str]
    in_model_order: bool
    content: Any
    in_memory: dict[Path, Tensors]

    @cached_property
    def listed(self) -> list[StoredWeight]:
        """All weights: in the model's order, or by name where it is not known."""
        found = [one for weights in self.by_file.values() for one in weights]
        return found if self.in_model_order else sorted(found, key=lambda one: natural_order(one.name))

    def tensors(self) -> Iterator[tuple[StoredWeight, Tensor]]:
        """Each weight with its values, file by file. Keep none: what is kept stays in memory."""
        for path, weights in self.by_file.items():
            yield from _tensors(lambda path=path: self._opened(path), weights)

    def without(self, names: Collection[str]) -> "Weights":
        """All but those of these names."""
        left = {path: [one for one in found if one.name not in names] for path, found in self.by_file.items()}
        return replace(self, by_file=left)

    def _opened(self, path: Path) -> Tensors:
        if path in self.in_memory:
            return self.in_memory[path]
        return safetensors_file.opened(path) if _is_safetensors(path) else torch_file.opened(path)


def found_weights(files: CheckpointFiles) -> Weights:
    """List what the files hold; no values are read but for the checksum in the name of our own checkpoints.

    Raises:
        ValueError: a file of another kind, damaged, hostile or without weights; the message names it and a remedy.
    """
    by_file: dict[Path, list[StoredWeight]] = {}
    in_memory: dict[Path, Tensors] = {}
    other_names: list[str] = []
    content = None
    for path, names in files.shards.items():
        if _is_safetensors(path):
            weights, others = safetensors_file.listed_weights(path)
        else:
            _require_checksum(path)
            content, is_mapped = load(path)
            weights, others = torch_file.listed_weights(content, path)
            in_memory |= {} if is_mapped else {path: torch_file.tensors_by_name(content, path)}
        by_file[path] = weights if names is None else _named(names, weights, others, path, files.main)
        other_names += others
    if not any(by_file.values()):
        raise ValueError(
            f"{files.main} contains no floating-point weight ({len(other_names)} other tensors); give a model's file"
        )
    return Weights(by_file, other_names, not any(map(_is_safetensors, by_file)), content, in_memory)


def _tensors(opened: Callable[[], Tensors], weights: list[StoredWeight]) -> Iterator[tuple[StoredWeight, Tensor]]:
    tensor_of, mapped_bytes = opened(), 0
    for weight in weights:
        if mapped_bytes > MOST_MAPPED_BYTES:
            tensor_of, mapped_bytes = opened(), 0
        tensor = tensor_of(weight.name)
        mapped_bytes += tensor.nbytes
        yield weight, tensor
        del tensor


def _named(
    names: list[str], weights: list[StoredWeight], others: list[str], path: Path, index: Path
) -> list[StoredWeight]:
    held: Mapping[str, StoredWeight] = {name: one for one in weights for name in (one.name, *one.tied)}
    missing = [name for name in names if name not in held and name not in set(others)]
    if missing:
        raise ValueError(
            f"{index} says that {path.name} contains {missing[0]!r}, but it does not; copy both files again"
        )
    return list(dict.fromkeys(held[name] for name in names if name in held))


def _is_safetensors(path: Path) -> bool:
    """By the first bytes, whatever the name says; ValueError for a file of neither kind."""
    with path.open("rb") as file:
        start = file.read(START_BYTES)
    # A header of 128 bytes begins like a pickle.
    if start[HEADER_BYTES : HEADER_BYTES + 1] == b"{":
        return True
    if start.startswith((ZIP_START, PICKLE_START)):
        return False
    if told := foreign(start, path.suffix):
        raise ValueError(f"{path} {told}")
    return True


def _require_checksum(path: Path) -> None:
    named = CHECKPOINT_NAME.fullmatch(path.name)
    if named is None:
        return
    with path.open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    if not checksum.startswith(named[2]):
        raise ValueError(
            f"{path} is damaged: its content does not match the checksum in its name. Use another checkpoint."
        )
