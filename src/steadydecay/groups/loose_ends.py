"""Find layers of a model whose output no other layer reads, as far as their sizes and their order tell."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, final

from torch import nn

from steadydecay.groups.intrinsic_roles import is_norm
from steadydecay.groups.layers import Layer, Position, feeds
from steadydecay.groups.places import Place, is_adapter

# The number of vectors that a layer may write at once: gated layers, query, key and value, modulations of a block.
PIECES = (2, 3, 4, 6, 9)
# Names of what attention reads, whatever the number of heads; "q" and "v" alone may be values of actions and states.
PROJECTION_NAME = re.compile(r"\w*(qkv|kv|qk)\w*|(to_|w_?)[qkv]|W_?[qkvQKV]|[qkv]_(proj|lin|linear)|(c_attn|in_proj)")
# Sizes below these coincide by chance.
LEAST_PIECE = 16
LEAST_JOINED = 4
MOST_JOINED = 8


@final
class Reader(NamedTuple):
    """A possible reader of a layer's output: where it stands, how many features it reads, whether it is a Linear."""

    position: Position
    size: int
    is_linear: bool


def loose_ends(candidates: Iterable[Layer], layers: Sequence[Layer], places: Sequence[Place]) -> list[Layer]:
    """Return the candidates whose output nothing that comes later reads, judging by sizes.

    Args:
        candidates: Some of `layers`.
        layers: The layers of the model, in its order.
        places: The places of all its parameters.
    """
    readers = _readers(layers, places)
    return [
        layer
        for layer in candidates
        if _may_end(layer)
        and not any(
            _is_read(size, layer, reader) or _is_joined(size, layer, reader)
            for size in _sides(layer, layer.writes)
            for reader in readers
        )
    ]


def possible_ends(candidates: Iterable[Layer], layers: Sequence[Layer], places: Sequence[Place]) -> list[Layer]:
    """Return what `loose_ends` returns, and the candidates whose output a later layer may read by coincidence.

    These write a part of what it reads, or so few features that many layers read as many, or they may be the other way
    round.
    """
    readers = _readers([replace(layer, is_turned=False) for layer in layers], places)
    return [
        layer
        for layer in candidates
        if _may_end(layer)
        and (
            layer.writes < LEAST_JOINED < layer.reads
            or not any(_is_read(layer.writes, layer, reader) for reader in readers)
        )
    ]


def is_modulation(layer: Layer) -> bool:
    """Return whether a layer writes several vectors of the size that it reads, as modulations of a block do."""
    return _writes_pieces(layer.writes, layer.reads)


def is_normalised(layer: Layer, places: Sequence[Place]) -> bool:
    """Return whether a normalisation of the layer's output comes after it."""
    after = places[layer.position.of_parameter + 1 :]
    return any(place.shape == (layer.writes,) and is_norm(place.owner) for place in after)


def is_beside(last: Layer, layers: Iterable[Layer]) -> Callable[[Layer], bool]:
    """Return a test of whether a layer stands beside `last` and reads the same input, as scores and boxes do."""
    held = Counter(_above(layer.path, depth) for layer in layers for depth in range(1, layer.depth + 1))

    def home(layer: Layer) -> str:
        """Return the innermost module that holds other layers too."""
        return next((path for d in range(1, layer.depth + 1) if held[path := _above(layer.path, d)] > 1), "")

    return lambda layer: home(layer) == home(last) and layer.reads == last.reads and not feeds(layer, last)


def _above(path: str, depth: int) -> str:
    """Return the path of the module that is `depth` modules above."""
    return path.rsplit(".", depth)[0]


def _readers(layers: Sequence[Layer], places: Sequence[Place]) -> list[Reader]:
    """Return the first and the last reader of each size, because big models have thousands of the same size."""
    by_size: dict[tuple[int, bool], list[Reader]] = {}
    for reader in sorted([*_reading_layers(layers), *_other_readers(layers, places)]):
        by_size.setdefault((reader.size, reader.is_linear), []).append(reader)
    return [reader for alike in by_size.values() for reader in (alike[0], alike[-1])]


def _reading_layers(layers: Iterable[Layer]) -> Iterator[Reader]:
    for layer in layers:
        yield from (Reader(layer.position, size, layer.is_linear) for size in _sides(layer, layer.reads))


def _other_readers(layers: Iterable[Layer], places: Sequence[Place]) -> Iterator[Reader]:
    """Yield parameters outside layers: gains of norms, matrices of recurrences or attention, not tables or adapters."""
    of_layers = {id(layer.weight) for layer in layers}
    for position, place in enumerate(places):
        is_table = isinstance(place.owner, nn.Embedding | nn.EmbeddingBag)
        reads = (len(place.shape) > 1 and not is_table) or is_norm(place.owner)
        if reads and id(place.parameter) not in of_layers and not is_adapter(place):
            yield from (Reader(Position(position, position), size, is_linear=False) for size in place.shape)


def _sides(layer: Layer, size: int) -> set[int]:
    return {layer.writes, layer.reads} if layer.is_turned else {size}


def _may_end(layer: Layer) -> bool:
    is_projection = any(PROJECTION_NAME.fullmatch(part) for part in layer.path.split("."))
    return layer.writes != layer.reads and not is_modulation(layer) and not is_projection


def _is_read(size: int, layer: Layer, reader: Reader) -> bool:
    """Return whether the reader reads a layer's output, whole, in pieces, or flattened after a convolution."""
    if not _may_follow(layer, reader):
        return False
    is_flattened = reader.is_linear and not layer.is_linear and size >= LEAST_JOINED and reader.size % size == 0
    return reader.size == size or _writes_pieces(size, reader.size) or is_flattened


def _is_joined(size: int, layer: Layer, reader: Reader) -> bool:
    """Return whether the reader reads a layer's output joined with others of its size."""
    is_part = size >= LEAST_JOINED and reader.size % size == 0 and reader.size <= MOST_JOINED * size
    return is_part and _may_follow(layer, reader)


def _may_follow(layer: Layer, reader: Reader) -> bool:
    """Return whether the reader may come after a layer: any but itself, if its module has other layers inside."""
    has_moved = layer.position.at_end > layer.position.of_parameter and layer.is_turned
    return reader.position > layer.position or (has_moved and reader.position != layer.position)


def _writes_pieces(writes: int, size: int) -> bool:
    return size >= LEAST_PIECE and writes in {pieces * size for pieces in PIECES}
