"""Which layer of a model is its output: by what the model says, by tied weights, by names, or as the last one."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any, NamedTuple, final

from torch import Tensor, nn

from steadydecay.groups.intrinsic_roles import Role
from steadydecay.groups.layers import Layer, feeds, is_normalised, layers_of, loose_ends
from steadydecay.groups.model_structure import (
    OUTPUT_ACCESSOR,
    Structure,
    candidates,
    is_below,
    structure_of,
)
from steadydecay.groups.output_names import is_head_name, is_weak_name
from steadydecay.groups.places import Place, is_adapter, unwrapped

ACCESSORS = (OUTPUT_ACCESSOR, "get_classifier")
REMEDY = "say output=... if that is wrong"


@final
class FoundOutput(NamedTuple):
    """The output layer.

    Attributes:
        parameters: of it; none where there is none.
        doubts: what was guessed and why, by the id of the parameter that the guess is about.
    """

    parameters: Sequence[Tensor] = ()
    doubts: dict[int, str] = {}  # noqa: RUF012


@final
class Search(NamedTuple):
    """What an output is looked for in.

    Attributes:
        structure: of the model.
        layers: of it, in its order.
        outside: those that may be an output.
        ends: those of `outside` that nothing reads, by sizes.
        maybe_ends: those besides that a later layer may read joined with others, by sizes.
        places: of all parameters.
    """

    structure: Structure
    layers: Sequence[Layer]
    outside: Sequence[Layer]
    ends: Sequence[Layer]
    maybe_ends: Sequence[Layer]
    places: Sequence[Place]


def found_output(model: nn.Module, places: Sequence[Place], roles: Mapping[str, Role]) -> FoundOutput:
    """The output layer as far as the model tells.

    Args:
        model: only read.
        places: of its parameters, under all of their names.
        roles: of each parameter by itself, by its name; matrices and kernels may be an output.
    """
    search = _search(model, places, roles)
    answers = [accessor() for accessor in _accessors(model)]
    if said := [p for answer in answers for module in _modules_in(answer) for p in module.parameters()]:
        return _with_doubts(search, said)
    # timm's way to say that there is no classifier is an Identity.
    if any(isinstance(answer, nn.Module) for answer in answers):
        return FoundOutput()
    if parameters := _tied(places) or _named(search):
        return _with_doubts(search, parameters)
    return _by_place(search, says_none=bool(answers)) if search.layers else _none_found(places, roles)


def _search(model: nn.Module, places: Sequence[Place], roles: Mapping[str, Role]) -> Search:
    layers = layers_of(places, roles)
    structure = structure_of(model, layers, places)
    outside = candidates(structure, layers)
    ends = loose_ends(outside, layers, places)
    maybe = [layer for layer in loose_ends(outside, layers, places, may_be_joined=False) if layer not in ends]
    return Search(structure, layers, outside, ends, maybe, places)


def _accessors(model: nn.Module) -> Iterator[Callable[[], Any]]:
    _, chain = unwrapped(model)
    for module in chain:
        yield from filter(callable, (getattr(module, name, None) for name in ACCESSORS))


def _modules_in(answer: Any) -> list[nn.Module]:
    """One module, several (distilled DeiT), a table of them, or none."""
    answers = answer.values() if isinstance(answer, dict) else answer if isinstance(answer, list | tuple) else [answer]
    return [one for one in answers if isinstance(one, nn.Module)]


def _tied(places: Sequence[Place]) -> list[Tensor]:
    in_embeddings = {id(place.parameter) for place in places if isinstance(place.owner, nn.Embedding)}
    return [p.parameter for p in places if id(p.parameter) in in_embeddings and not isinstance(p.owner, nn.Embedding)]


def _named(search: Search) -> list[Tensor]:
    """Weights of the layers nearest to the top with an output's name that no other layer reads on."""
    heads = _last_of_heads(search, is_head_name, search.structure.heads)
    nearest = _nearest(heads)
    chosen = [layer for layer in nearest if not _is_read_on(layer, [*nearest, *_later(layer, search.outside)])]
    return [layer.weight for layer in chosen or _weakly_named(search)]


def _weakly_named(search: Search) -> list[Layer]:
    """The last of the nearest to the top with a name like "fc", unless a later layer reads what it writes."""
    nearest = _nearest(_last_of_heads(search, is_weak_name, set()))
    if not nearest:
        return []
    last = nearest[-1]
    return [] if _is_read_on(last, _later(last, search.outside)) else [last]


def _nearest(heads: dict[str, list[Layer]]) -> list[Layer]:
    depth = min((path.count(".") for path in heads), default=0)
    return [layer for path, of_head in heads.items() if path.count(".") == depth for layer in of_head]


def _with_doubts(search: Search, parameters: Sequence[Tensor]) -> FoundOutput:
    """The output, with a doubt of each layer that might be one by its name or place, unless the output reads it."""
    ids = {id(parameter) for parameter in parameters}
    chosen = [layer for layer in search.layers if id(layer.weight) in ids]
    heads = _last_of_heads(search, is_head_name, search.structure.heads)
    last = [layer for layer in search.outside[-1:] if layer is search.layers[-1] and layer.is_linear]
    last = [layer for layer in last if not layer.is_modulation]
    taken = ", ".join(dict.fromkeys(layer.path for layer in chosen)) or "another weight"
    doubts = {
        id(layer.weight): f"although it has an output's name or place, because {taken} is taken for it; {REMEDY}"
        for layer in [*(layer for of_head in heads.values() for layer in of_head), *search.ends, *last]
        if id(layer.weight) not in ids and not _is_read_on(layer, chosen)
    }
    return FoundOutput(parameters, doubts)


def _by_place(search: Search, says_none: bool) -> FoundOutput:
    """The last layer and all that nothing reads, as a guess."""
    last = search.layers[-1]
    if says_none and is_below(last.path, search.structure.repeated):
        return FoundOutput()
    ends, reason = [] if says_none else search.ends, _why_not(search, last, says_none)
    chosen = list(ends) or ([last] if reason is None else [])
    chosen += [layer for layer in _beside_last(chosen, search.outside) if layer not in chosen]
    doubts = dict(_doubts_of_others(search, chosen, says_none))
    if reason is not None and last not in chosen:
        doubts[id(last.weight)] = f"although it is the last {last.kind}, because {reason}; {REMEDY}"
    doubts |= {id(layer.weight): f"because no later layer reads what it writes; {REMEDY}" for layer in chosen}
    if last in chosen:
        doubts[id(last.weight)] = f"because it is the last {last.kind}; {REMEDY}"
    return FoundOutput([layer.weight for layer in chosen], doubts)


def _beside_last(chosen: Sequence[Layer], layers: Sequence[Layer]) -> Iterator[Layer]:
    """Layers that stand beside the last of those chosen and read the same; of a square one nothing tells that."""
    if chosen and chosen[-1].writes != chosen[-1].reads:
        is_beside = _is_beside(chosen[-1])
        yield from (layer for layer in layers if is_beside(layer))


def _doubts_of_others(search: Search, chosen: Sequence[Layer], says_none: bool) -> Iterator[tuple[int, str]]:
    """Layers that may be a second output: sizes alone do not tell a tower from what is read on."""
    if says_none or not chosen:
        return
    reason = f"although it may be an output beside {chosen[-1].path}, because sizes do not tell what reads it; {REMEDY}"
    for layer in [*search.maybe_ends, *_ends_of_towers(search, chosen[-1])]:
        if layer not in chosen:
            yield id(layer.weight), reason


def _ends_of_towers(search: Search, last: Layer) -> Iterator[Layer]:
    """Last layers of modules that read what the module of the last layer reads, as a second tower does."""
    towers: dict[str, list[Layer]] = {}
    for layer in search.outside:
        towers.setdefault(layer.path.partition(".")[0], []).append(layer)
    of_last = towers[last.path.partition(".")[0]]
    for tower in towers.values():
        if min(len(tower), len(of_last)) > 1 and tower is not of_last and tower[0].reads == of_last[0].reads:
            yield tower[-1]


def _why_not(search: Search, last: Layer, says_none: bool) -> str | None:
    """Why the last layer is no output, None if it may be one."""
    if says_none or is_below(last.path, search.structure.encoders):
        return "the model says that it has no output layer"
    if last not in search.outside:
        return "it stands in the last of several like layers"
    is_normed = not last.is_linear and is_normalised(last, search.places)
    return "a normalisation comes after it" if is_normed else None


def _none_found(places: Sequence[Place], roles: Mapping[str, Role]) -> FoundOutput:
    """A line for the last matrix of a model in which nothing may be an output."""
    matrices = [
        place.parameter for place in places if roles[place.name] in ("hidden", "conv") and not is_adapter(place)
    ]
    doubt = "as no output layer was found; say output=... if the model has one"
    return FoundOutput(doubts={id(parameter): doubt for parameter in matrices[-1:]})


def _last_of_heads(search: Search, is_named: Callable[[str], bool], by_class: set[str]) -> dict[str, list[Layer]]:
    """The layers that end each module with an output's name or class, by its path."""
    paths = (_head_path(layer.path.split("."), is_named, by_class) for layer in search.outside)
    return {path: _last_of(path, search) for path in paths if path is not None}


def _head_path(parts: list[str], is_named: Callable[[str], bool], by_class: set[str]) -> str | None:
    paths = [".".join(parts[: depth + 1]) for depth in range(len(parts))]
    return next((path for path, part in zip(paths, parts, strict=True) if is_named(part) or path in by_class), None)


def _last_of(head: str, search: Search) -> list[Layer]:
    """The last layer of a head, or of each head in a list of heads, and those beside it that read the same."""
    children = len(head.split(".")) + 1 if head in search.structure.lists else 0
    by_child: dict[str, list[Layer]] = {}
    for layer in search.outside:
        if f"{layer.path}.".startswith(f"{head}."):
            by_child.setdefault(".".join(layer.path.split(".")[:children]), []).append(layer)
    return [layer for inside in by_child.values() for layer in _ends_of(inside, search.ends)]


def _ends_of(inside: Sequence[Layer], ends: Sequence[Layer]) -> list[Layer]:
    """What nothing reads of a head; else its last layer, and those beside it that read the same."""
    loose = [layer for layer in inside if layer in ends]
    last = loose[-1] if loose else inside[-1]
    upwards = reversed(inside[: inside.index(last) + 1])
    return list(dict.fromkeys([*loose, *takewhile(_is_beside(last), upwards)]))


def _is_beside(last: Layer) -> Callable[[Layer], bool]:
    """Whether a layer stands beside `last` and reads what it reads, as scores beside boxes do."""
    parent = last.path.rpartition(".")[0]
    return lambda layer: (
        layer.path.rpartition(".")[0] == parent and layer.reads == last.reads and not feeds(layer, last)
    )


def _later(layer: Layer, layers: Sequence[Layer]) -> list[Layer]:
    """Linear layers that come after one, as near to the top as it."""
    after = layers[layers.index(layer) + 1 :]
    return [other for other in after if other.is_linear and other.depth <= layer.depth]


def _is_read_on(layer: Layer, others: Iterable[Layer]) -> bool:
    return any(feeds(layer, other) for other in others)
