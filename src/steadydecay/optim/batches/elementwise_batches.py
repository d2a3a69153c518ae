"""Elementwise steps: small weights together, and large ones a slice at a time, with small temporaries."""

import math
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from steadydecay.optim.batches.parts import Advance, Part, PartsOfGroup, batch_of, real_view


class Sizes(NamedTuple):
    """Numbers of entries that are stepped at once, at most.

    Attributes:
        alone: of one weight; at least 1.
        together: of several weights; one of more than half of that comes alone.
    """

    alone: int
    together: int


# 2 MiB of float32: what one operation leaves in a CPU's cache the next one finds there. Half as many entries cost 10 %
# for the calls; with twice as many, malloc may give a temporary back to the system each time, which costs far more.
ON_CPU = Sizes(2**19, 2**17)
# 32 MiB of float32: an H100 takes 30 µs for one operation, longer than a launch.
ON_GPU = Sizes(2**23, 2**23)
# The compiler makes one pass of all operations itself.
COMPILED = Sizes(sys.maxsize, sys.maxsize)


def in_elementwise_batches(groups: Iterable[PartsOfGroup], advance: Advance) -> None:
    """Hand every entry of every part to `advance` once, gradients in the dtype of the averages.

    Args:
        groups: with "foreach" among their hyperparameters.
        advance: steps one batch of one of the groups.
    """
    for of in groups:
        for parts in batches_of(of.parts, of.group["foreach"]):
            advance(batch_of(parts), of.group, of.decay)


def batches_of(parts: Iterable[Part], foreach: bool | None = None) -> Iterator[list[Part]]:
    """Lists of one device, dtype and dtype of gradients each; complex weights as their real view, as in torch.

    Args:
        parts: whole weights.
        foreach: False for lists of one.
    """
    alike: dict[Any, list[Part]] = defaultdict(list)
    for part in parts:
        alike[part.weight.device, part.weight.dtype, part.gradient.dtype].append(part)
    for (device, dtype, _), same in alike.items():
        sizes = sizes_on(device)
        same = map(real_view, same) if dtype.is_complex else same
        yield from packed(same, sizes._replace(together=-1) if foreach is False else sizes)


def sizes_on(device: torch.device) -> Sizes:
    """The sizes of batches on this device."""
    if torch.compiler.is_compiling():
        return COMPILED
    return ON_CPU if device.type == "cpu" else ON_GPU


def packed(parts: Iterable[Part], sizes: Sizes) -> Iterator[list[Part]]:
    """Lists of several small weights, or of one weight or slice of it.

    Args:
        parts: whole weights of one device and dtype.
        sizes: of the lists.
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
    """Views of corresponding entries of tensors of one shape, equally many each, at most `most`.

    They are rows, of any length, where something is not contiguous.
    """
    count = math.ceil(tensors[0].numel() / most)
    if count <= 1 or type(tensors[0]) not in (Tensor, nn.Parameter):
        yield tensors
        return
    if all(tensor.is_contiguous() for tensor in tensors):
        tensors = [tensor.view(-1) for tensor in tensors]
    rows = math.ceil(len(tensors[0]) / count)
    yield from zip(*(tensor.split(rows) for tensor in tensors), strict=True)
