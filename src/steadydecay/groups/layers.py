"""The layers of a model that multiply by a matrix or a kernel, and which of them reads what another writes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from torch import Tensor, nn

from steadydecay.groups.intrinsic_roles import Role, is_norm
from steadydecay.groups.places import Place, class_names, is_adapter

# Writing several vectors at once, as a gated layer, query, key and value, and the modulation of a block do.
PIECES = (2, 3, 4, 6, 9)
# Sizes below these are met by chance.
LEAST_PIECE = 16
LEAST_JOINED = 4
MOST_JOINED = 8


@final
@dataclass(frozen=True, eq=False)
class Layer:
    """A linear layer, a convolution, or a matrix that stands by itself.

    Attributes:
        path: of the module, or of the parameter where its module has several.
        weight: the matrix or kernel.
        position: of the weight among all parameters of the model.
        writes: features that come out, or channels.
        reads: features that go in, or channels.
        kind: what it is, in words.
        is_turned: it may be the other way round, since nothing says which of its axes is read.
    """

    path: str
    weight: Tensor
    position: int
    writes: int
    reads: int
    kind: str
    is_turned: bool

    @property
    def depth(self) -> int:
        """How many modules hold it."""
        return self.path.count(".")

    @property
    def is_linear(self) -> bool:
        """Whether it is no convolution."""
        return self.kind != "convolution"

    @property
    def is_modulation(self) -> bool:
        """Whether it writes several vectors of the size that it reads, as what scales and shifts a block does."""
        return _writes_pieces(self.writes, self.reads)


def layers_of(places: Sequence[Place], roles: Mapping[str, Role]) -> list[Layer]:
    """The layers among `places`, in the model's order.

    Args:
        places: of all parameters.
        roles: of each by itself, by its name.
    """
    by_owner: dict[int, list[tuple[int, Place]]] = {}
    for position, place in enumerate(places):
        if roles[place.name] in ("hidden", "conv") and not is_adapter(place):
            by_owner.setdefault(id(place.owner), []).append((position, place))
    found = [layer for of_owner in by_owner.values() for layer in _layers_in(of_owner, roles)]
    return sorted(found, key=lambda layer: layer.position)


def feeds(layer: Layer, other: Layer) -> bool:
    """Whether sizes say that `other` reads what `layer` writes, and not the other way round."""
    return layer.writes == other.reads and other.writes != layer.reads


def loose_ends(
    candidates: Iterable[Layer], layers: Sequence[Layer], places: Sequence[Place], may_be_joined: bool = True
) -> list[Layer]:
    """Those of the candidates of which sizes say that nothing that comes later reads what they write.

    Args:
        candidates: some of `layers`.
        layers: of the model, in its order.
        places: of all its parameters.
        may_be_joined: what a layer writes counts as read where a later one reads a multiple of it.
    """
    of_layers = {id(layer.weight) for layer in layers}
    others = [(position, place) for position, place in enumerate(places) if id(place.parameter) not in of_layers]
    read = [(layer.position, size, layer.is_linear) for layer in layers for size in _sides(layer, layer.reads)]
    read += [(position, size, False) for position, place in others for size in _sizes_read(place)]

    def is_read(layer: Layer, size: int) -> bool:
        return any(
            position > layer.position
            and (by == size or _writes_pieces(size, by) or (_joins(size, by, is_linear, layer, may_be_joined)))
            for position, by, is_linear in read
        )

    return [
        layer
        for layer in candidates
        if layer.writes != layer.reads
        and not layer.is_modulation
        and not any(is_read(layer, size) for size in _sides(layer, layer.writes))
    ]


def is_normalised(layer: Layer, places: Sequence[Place]) -> bool:
    """Whether a normalisation of what it writes comes after it."""
    after = places[layer.position + 1 :]
    return any(place.shape == (layer.writes,) and is_norm(place.owner) for place in after)


def _layers_in(of_owner: Sequence[tuple[int, Place]], roles: Mapping[str, Role]) -> Iterator[Layer]:
    owner: Any = of_owner[0][1].owner
    if kind := _known_kind(owner):
        of_owner = [(position, place) for position, place in of_owner if place.tensor == "weight"]
    elif type(owner).__module__.startswith("torch.nn.modules.") and type(owner) is not nn.Module:
        return
    for position, place in of_owner:
        is_kernel = roles[place.name] == "conv"
        if kind or is_kernel or len(place.shape) == 2:
            path = place.path if place.path and len(of_owner) == 1 else place.plain_name
            kind_of_place = kind or ("convolution" if is_kernel else "matrix")
            sizes = _said_sizes(owner)
            writes, reads = sizes or _usual_sizes(place)
            is_turned = sizes is None and kind_of_place == "matrix"
            yield Layer(path, place.parameter, position, writes, reads, kind_of_place, is_turned)


def _known_kind(owner: nn.Module) -> str:
    if isinstance(owner, nn.modules.conv._ConvNd):
        return "convolution"
    is_linear = isinstance(owner, nn.Linear | nn.Bilinear) or any("Linear" in name for name in class_names(owner))
    return "Linear" if is_linear else ""


def _said_sizes(owner: Any) -> tuple[int, int] | None:
    """What a layer writes and reads, where its module says so."""
    for outgoing, incoming in (("out_channels", "in_channels"), ("out_features", "in_features")):
        writes, reads = getattr(owner, outgoing, None), getattr(owner, incoming, None)
        if isinstance(writes, int) and isinstance(reads, int):
            return writes, reads
    return None


def _usual_sizes(place: Place) -> tuple[int, int]:
    first, second = place.shape[:2]
    # x @ w keeps (in, out), as people write it who do not call it a weight.
    is_transposed = place.tensor != "weight" or "Conv1D" in class_names(place.owner)
    return (second, first) if is_transposed else (first, second)


def _sizes_read(place: Place) -> Iterator[int]:
    """What a parameter of no layer may read: a gain of a norm, matrices of a recurrence or of attention."""
    if isinstance(place.owner, nn.Embedding | nn.EmbeddingBag):
        return
    if len(place.shape) > 1 or is_norm(place.owner):
        yield from place.shape


def _sides(layer: Layer, size: int) -> set[int]:
    return {layer.writes, layer.reads} if layer.is_turned else {size}


def _joins(size: int, by: int, is_linear: bool, layer: Layer, may_be_joined: bool) -> bool:
    """Whether what a layer writes is read with others of its size, or flattened by a Linear after a convolution."""
    joined, rest = divmod(by, size)
    if rest or size < LEAST_JOINED:
        return False
    is_flattened = is_linear and not layer.is_linear
    return is_flattened or (may_be_joined and joined <= MOST_JOINED)


def _writes_pieces(writes: int, size: int) -> bool:
    return size >= LEAST_PIECE and writes in {pieces * size for pieces in PIECES}
