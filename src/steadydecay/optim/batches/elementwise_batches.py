"""What an elementwise step takes at once: small weights together, and large ones in pieces with small temporaries."""

import math
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from steadydecay.optim.batches.parts import Part


class Sizes(NamedTuple):
    """Numbers of entries that are stepped at once, at most.

    Attributes:
        piece: of one weight; at least 1.
        together: of several weights; one of more than half of that comes alone.
    """

    piece: int
    together: int


# 2 MiB of float32: what one operation leaves in a CPU's cache the next one finds there. Half as many entries cost 10 %
# for the calls; with twice as many, malloc may give a temporary back to the system each time, which costs far more.
ON_CPU = Sizes(2**19, 2**17)
# 32 MiB of float32: an H100 takes 30 µs for one operation, longer than a launch.
ON_GPU = Sizes(2**23, 2**23)
# The compiler makes one pass of all operations itself.
COMPILED = Sizes(sys.maxsize, sys.maxsize)


def batches_of(parts: Iterable[Part], foreach: bool | None = None) -> Iterator[list[Part]]:
    """Lists of one device, dtype and dtype of gradients each.

    Args:
        parts: whole weights.
        foreach: False for lists of one.
    """
    alike: dict[Any, list[Part]] = defaultdict(list)
    for part in parts:
        alike[part.weight.device, part.weight.dtype, part.gradient.dtype].append(part)
    for (device, *_), same in alike.items():
        sizes = sizes_on(device)
        yield from packed(same, sizes._replace(together=-1) if foreach is False else sizes)


def sizes_on(device: torch.device) -> Sizes:
    """Those of batches on this device."""
    if torch.compiler.is_compiling():
        return COMPILED
    return ON_CPU if device.type == "cpu" else ON_GPU


def packed(parts: Iterable[Part], sizes: Sizes) -> Iterator[list[Part]]:
    """Lists of several small weights, or of one weight or piece of it.

    Args:
        parts: whole weights of one device and dtype.
        sizes: of the lists.
    """
    batch: list[Part] = []
    entries = 0
    for part in parts:
        size = part.weight.numel()
        if size > sizes.together // 2:
            tensors = [tensor for tensor in part if tensor is not None]
            yield from ([Part(*piece, *part[len(piece) :])] for piece in pieces(tensors, sizes.piece))
            continue
        if entries + size > sizes.together:
            yield batch
            batch, entries = [], 0
        batch.append(part)
        entries += size
    if batch:
        yield batch


def pieces(tensors: Sequence[Tensor], most: int) -> Iterator[Sequence[Tensor]]:
    """Views of corresponding parts of tensors of one shape, equally many entries each, at most `most`.

    Rows where something is not contiguous, of any length; and all at once of a sharded tensor, of which a view may be
    a copy.
    """
    count = math.ceil(tensors[0].numel() / most)
    if count <= 1 or type(tensors[0]) not in (Tensor, nn.Parameter):
        yield tensors
        return
    if all(tensor.is_contiguous() for tensor in tensors):
        tensors = [tensor.view(-1) for tensor in tensors]
    rows = math.ceil(len(tensors[0]) / count)
    yield from zip(*(tensor.split(rows) for tensor in tensors), strict=True)
