"""Elementwise steps, for small weights together and for large ones a slice at a time, with small temporaries."""

import math
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from steadydecay.optim.batches.parts import Advance, Part, PartsOfGroup, batch_of, real_view


class Sizes(NamedTuple):
    """The largest numbers of entries that are stepped at once.

    Attributes:
        alone: Entries of one weight, at least 1.
        together: Entries of several weights. A weight of more than half of this is stepped alone.
    """

    alone: int
    together: int


# 2 MiB of float32 stay in a CPU's cache from one operation to the next. Half as many entries cost 10 % more for the
# calls. With twice as many, malloc may return each temporary to the system, which costs far more.
ON_CPU = Sizes(2**19, 2**17)
# An H100 takes 30 µs for one operation on 32 MiB of float32, which is longer than a launch.
ON_GPU = Sizes(2**23, 2**23)
# The compiler fuses all operations into one pass itself.
COMPILED = Sizes(sys.maxsize, sys.maxsize)


def in_elementwise_batches(groups: Iterable[PartsOfGroup], advance: Advance) -> None:
    """Pass every entry of every part to `advance` once, with gradients in the dtype of the averages.

    Args:
        groups: Groups with "foreach" among their hyperparameters.
        advance: A function that steps one batch of one of the groups.
    """
    for of in groups:
        for parts in batches_of(of.parts, of.group["foreach"]):
            advance(batch_of(parts), of.group, of.decay)


def batches_of(parts: Iterable[Part], foreach: bool | None = None) -> Iterator[list[Part]]:
    """Yield lists of parts, each of one device, dtype and gradient dtype. Complex weights are given as their real view.

    Args:
        parts: Whole weights.
        foreach: Pass False to get lists of one part.
    """
    alike: dict[Any, list[Part]] = defaultdict(list)
    for part in parts:
        alike[part.weight.device, part.weight.dtype, part.gradient.dtype].append(part)
    for (device, dtype, _), same in alike.items():
        sizes = sizes_on(device)
        same = map(real_view, same) if dtype.is_complex else same
        yield from packed(same, sizes._replace(together=-1) if foreach is False else sizes)


def sizes_on(device: torch.device) -> Sizes:
    """Return the sizes of batches on this device."""
    if torch.compiler.is_compiling():
        return COMPILED
    return ON_CPU if device.type == "cpu" else ON_GPU


def packed(parts: Iterable[Part], sizes: Sizes) -> Iterator[list[Part]]:
    """Yield lists of several small weights, or of one weight or one slice of it.

    Args:
        parts: Whole weights of one device and dtype.
        sizes: The sizes of the lists.
    """
    batch: list[Part] = []
    entries = 0
    for part in parts:
        size = part.weight.numel()
        if size > sizes.together // 2:
            tensors = [tensor for tensor in part[:4] if tensor is not None]
            yield from ([part.seen_as(views)] for views in slices_of(tensors, sizes.alone))
            continue
        if entries + size > sizes.together:
            yield batch
            batch, entries = [], 0
        batch.append(part)
        entries += size
    if batch:
        yield batch


def slices_of(tensors: Sequence[Tensor], most: int) -> Iterator[Sequence[Tensor]]:
    """Yield views of corresponding entries of tensors of one shape, at most `most` of each.

    If a tensor is not contiguous, the views are rows of any length.
    """
    count = math.ceil(tensors[0].numel() / most)
    if count <= 1 or type(tensors[0]) not in (Tensor, nn.Parameter):
        yield tensors
        return
    if all(tensor.is_contiguous() for tensor in tensors):
        tensors = [tensor.view(-1) for tensor in tensors]
    rows = math.ceil(len(tensors[0]) / count)
    yield from zip(*(tensor.split(rows) for tensor in tensors), strict=True)
