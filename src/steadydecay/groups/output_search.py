"""The material in which the output layer is searched, and the result."""

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple, final

from torch import Tensor, nn

from steadydecay.groups.intrinsic_roles import Role
from steadydecay.groups.layers import Layer, feeds, layers_of
from steadydecay.groups.loose_ends import loose_ends, possible_ends
from steadydecay.groups.model_structure import Structure, candidates, structure_of
from steadydecay.groups.places import Place

REMEDY = "pass output=... if that is wrong"


@final
class FoundOutput(NamedTuple):
    """The output layer.

    Attributes:
        parameters: Its parameters; empty if there is no output layer.
        doubts: What was guessed and why, by the id of the parameter that the guess is about.
    """

    parameters: Sequence[Tensor] = ()
    doubts: dict[int, str] = {}  # noqa: RUF012


@final
class Search(NamedTuple):
    """The material in which the output layer is searched.

    Attributes:
        structure: The structure of the model.
        layers: Its layers, in order.
        outside: The layers that may be an output.
        ends: Those of `outside` that nothing reads, judging by sizes.
        maybe_ends: Further ones that a later layer may read by coincidence.
        places: The places of all parameters.
    """

    structure: Structure
    layers: Sequence[Layer]
    outside: Sequence[Layer]
    ends: Sequence[Layer]
    maybe_ends: Sequence[Layer]
    places: Sequence[Place]


def search_of(model: nn.Module, places: Sequence[Place], roles: Mapping[str, Role]) -> Search:
    """Return what the modules and sizes of a model tell; `roles` are those that parameters have by themselves."""
    layers = layers_of(places, roles)
    structure = structure_of(model, layers, places)
    outside = candidates(structure, layers)
    ends = _with_siblings(loose_ends(outside, layers, places), outside, structure.lists)
    maybe = [layer for layer in possible_ends(outside, layers, places) if layer not in ends]
    return Search(structure, layers, outside, ends, maybe, places)


def _with_siblings(ends: Sequence[Layer], outside: Sequence[Layer], lists: Collection[str]) -> list[Layer]:
    """Add all layers of a list that has an end and in which none reads the one before, as heads at several scales."""
    # A container that is the whole model is not a list of heads.
    homes = {path for layer in ends if (path := _home(layer)) in lists and path}
    found = {id(layer) for layer in ends}
    for home in homes:
        members = [layer for layer in outside if _home(layer) == home]
        if not any(feeds(first, second) for first, second in pairwise(members)):
            found.update(map(id, members))
    return [layer for layer in outside if id(layer) in found]


def _home(layer: Layer) -> str:
    return layer.path.rpartition(".")[0]
