"""The layers of a model that multiply by a matrix or a kernel, with the features that they read and write."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

from torch import Tensor, nn

from steadydecay.groups.intrinsic_roles import MATRIX_NAME, Role, own_name
from steadydecay.groups.output_names import is_head_name, is_weak_name
from steadydecay.groups.places import Place, class_names, is_adapter


@final
class Position(NamedTuple):
    """Where a layer stands among the parameters of a model.

    A module's own parameters are listed before those of its children, whichever come first in its computation. They are
    taken to stand at its end.
    """

    at_end: int
    of_parameter: int


@final
@dataclass(frozen=True, eq=False)
class Layer:
    """A linear layer, a convolution, or a matrix that stands by itself.

    Attributes:
        path: The path of the module, or of the parameter if its module has several.
        weight: The matrix or kernel.
        position: The position of the weight.
        writes: The number of output features or channels.
        reads: The number of input features or channels.
        kind: What the layer is, in words.
        is_turned: Whether it may be the other way round, because nothing says which of its axes is read.
    """

    path: str
    weight: Tensor
    position: Position
    writes: int
    reads: int
    kind: str
    is_turned: bool

    @property
    def depth(self) -> int:
        """The number of modules around the layer."""
        return self.path.count(".")

    @property
    def is_linear(self) -> bool:
        """Whether the layer is not a convolution."""
        return self.kind != "convolution"


def layers_of(places: Sequence[Place], roles: Mapping[str, Role]) -> list[Layer]:
    """Return the layers among `places`, in the model's order.

    Args:
        places: The places of all parameters.
        roles: The role that each parameter has by itself, by its name.
    """
    ends = _ends_of_owners(places)
    by_owner: dict[int, list[tuple[Position, Place]]] = {}
    for position, place in enumerate(places):
        if roles[place.name] in ("hidden", "conv") and not is_adapter(place):
            by_owner.setdefault(id(place.owner), []).append(
                (Position(max(position, ends.get(place.path, 0)), position), place)
            )
    found = [layer for of_owner in by_owner.values() for layer in _layers_in(of_owner, roles)]
    return sorted(found, key=lambda layer: layer.position)


def feeds(layer: Layer, other: Layer) -> bool:
    """Return whether the sizes show that `other` reads what `layer` writes, and not the other way round."""
    # A matrix that may be turned seems to write what it reads, and then to feed what comes before it.
    is_later = layer.position < other.position or not layer.is_turned
    return is_later and layer.writes == other.reads and other.writes != layer.reads


def _ends_of_owners(places: Sequence[Place]) -> dict[str, int]:
    """Return the position of the last parameter in the children of each module with own parameters, by its path."""
    owners = {place.path for place in places}
    return {
        path: position
        for position, place in enumerate(places)
        for depth in range(len(place.parts) - 1)
        if (path := ".".join(place.parts[:depth])) in owners
    }


def _layers_in(of_owner: Sequence[tuple[Position, Place]], roles: Mapping[str, Role]) -> Iterator[Layer]:
    owner: Any = of_owner[0][1].owner
    kind = _known_kind(owner)
    if kind and any(place.tensor == "weight" for _, place in of_owner):
        of_owner = [(position, place) for position, place in of_owner if place.tensor == "weight"]
    elif not kind and type(owner).__module__.startswith("torch.nn.modules.") and type(owner) is not nn.Module:
        return
    for position, place in of_owner:
        is_kernel = roles[place.name] == "conv"
        if kind or is_kernel or _is_bare_matrix(place):
            path = place.path if place.path and len(of_owner) == 1 else place.plain_name
            kind_of_place = kind or ("convolution" if is_kernel else "matrix")
            sizes = _said_sizes(owner)
            writes, reads = sizes or _usual_sizes(place, kind)
            is_turned = sizes is None and kind_of_place == "matrix"
            yield Layer(path, place.parameter, position, writes, reads, kind_of_place, is_turned)


def _is_bare_matrix(place: Place) -> bool:
    name = own_name(place)
    return len(place.shape) == 2 and bool(MATRIX_NAME.fullmatch(name) or is_head_name(name) or is_weak_name(name))


def _known_kind(owner: nn.Module) -> str:
    if isinstance(owner, nn.modules.conv._ConvNd):
        return "convolution"
    is_linear = isinstance(owner, nn.Linear | nn.Bilinear) or any("Linear" in name for name in class_names(owner))
    return "Linear" if is_linear else ""


def _said_sizes(owner: Any) -> tuple[int, int] | None:
    """Return the features that a layer writes and reads, if its module says so."""
    for outgoing, incoming in (("out_channels", "in_channels"), ("out_features", "in_features")):
        writes, reads = getattr(owner, outgoing, None), getattr(owner, incoming, None)
        if isinstance(writes, int) and isinstance(reads, int):
            return writes, reads
    return None


def _usual_sizes(place: Place, kind: str) -> tuple[int, int]:
    first, second = place.shape[:2]
    # Matrices that are not called a weight usually stand in x @ w, and are stored as (in, out).
    is_transposed = (not kind and "weight" not in place.tensor) or "Conv1D" in class_names(place.owner)
    return (second, first) if is_transposed else (first, second)
