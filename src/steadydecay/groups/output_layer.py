"""Find the output layer of a model: by its own methods, by tied weights, by names, or as the last layer."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any

from torch import Tensor, nn

from steadydecay.groups.intrinsic_roles import Role
from steadydecay.groups.layers import Layer, feeds
from steadydecay.groups.loose_ends import is_beside, is_modulation
from steadydecay.groups.model_structure import OUTPUT_ACCESSOR
from steadydecay.groups.output_by_place import output_by_place
from steadydecay.groups.output_names import is_head_name, is_weak_name
from steadydecay.groups.output_search import REMEDY, FoundOutput, Search, search_of
from steadydecay.groups.places import Place, is_adapter, unwrapped

ACCESSORS = (OUTPUT_ACCESSOR, "get_classifier")


def found_output(model: nn.Module, places: Sequence[Place], roles: Mapping[str, Role]) -> FoundOutput:
    """Return the output layer as far as the model tells.

    Args:
        model: The model, which is only read.
        places: The places of its parameters, under all of their names.
        roles: The role that each parameter has by itself, by its name. Matrices and kernels may be an output.
    """
    search = search_of(model, places, roles)
    answers = [accessor() for accessor in _accessors(model)]
    if said := [p for answer in answers for module in _modules_in(answer) for p in module.parameters()]:
        found = _with_doubts(search, said)
        return found._replace(doubts=found.doubts | _doubts_of_answer(search, model, said))
    # timm returns an Identity if there is no classifier.
    if any(isinstance(answer, nn.Module) for answer in answers):
        return FoundOutput()
    if parameters := _tied(places, roles) or _named(search):
        return _with_doubts(search, parameters)
    return output_by_place(search, says_none=bool(answers)) if search.layers else _none_found(places, roles)


def _accessors(model: nn.Module) -> Iterator[Callable[[], Any]]:
    _, chain = unwrapped(model)
    for module in chain:
        yield from filter(callable, (getattr(module, name, None) for name in ACCESSORS))


def _modules_in(answer: Any) -> list[nn.Module]:
    """Return the modules in an answer: one, several (distilled DeiT), a table of them, or none."""
    answers = answer.values() if isinstance(answer, dict) else answer if isinstance(answer, list | tuple) else [answer]
    return [one for one in answers if isinstance(one, nn.Module)]


def _doubts_of_answer(search: Search, model: nn.Module, said: Sequence[Tensor]) -> dict[int, str]:
    """Return notes on outputs without the vocabulary's size, as DeBERTa's, which multiplies by the embedding."""
    words = _sizes_of_vocabularies(model)
    ids = {id(parameter) for parameter in said}
    return {
        id(layer.weight): f"because the model says so, although it writes {layer.writes} features "
        f"and the vocabulary has {', '.join(map(str, sorted(words)))}; {REMEDY}"
        for layer in search.layers
        if id(layer.weight) in ids and words and layer.writes == layer.reads and layer.writes not in words
    }


def _sizes_of_vocabularies(model: nn.Module) -> set[int]:
    tables = []
    for module in unwrapped(model)[1]:
        accessor: Any = getattr(module, "get_input_embeddings", None)
        # Models of transformers without a vocabulary raise it.
        with contextlib.suppress(NotImplementedError, AttributeError):
            tables.append(accessor() if callable(accessor) else None)
    return {table.num_embeddings for table in tables if isinstance(table, nn.Embedding)}


def _tied(places: Sequence[Place], roles: Mapping[str, Role]) -> list[Tensor]:
    """Return weights that an embedding and a layer share."""
    in_tables = {id(place.parameter) for place in places if roles[place.name] == "embedding"}
    return [p.parameter for p in places if id(p.parameter) in in_tables and roles[p.name] == "hidden"]


def _named(search: Search) -> list[Tensor]:
    """Return the weights of the topmost layers with an output's name whose output no other layer reads."""
    heads = _last_of_heads(search, is_head_name, search.structure.heads)
    nearest = _nearest(heads)
    chosen = [layer for layer in nearest if not _is_read_on(layer, [*nearest, *_later(layer, search.outside)])]
    return [layer.weight for layer in chosen or _weakly_named(search)]


def _weakly_named(search: Search) -> list[Layer]:
    """Return the last of the topmost layers with a name like "fc", unless a later layer reads its output."""
    nearest = _nearest(_last_of_heads(search, is_weak_name, set()))
    if not nearest:
        return []
    last = nearest[-1]
    # PEFT keeps a copy of the modules that it saves, at the same path.
    copies = [layer for layer in search.outside if layer.path == last.path]
    return [] if _is_read_on(last, _later(last, search.outside)) else copies


def _nearest(heads: dict[str, list[Layer]]) -> list[Layer]:
    depth = min((path.count(".") for path in heads), default=0)
    return [layer for path, of_head in heads.items() if path.count(".") == depth for layer in of_head]


def _with_doubts(search: Search, parameters: Sequence[Tensor]) -> FoundOutput:
    """Return the output, with a note on each layer that might be one by name or place, unless the output reads it."""
    ids = {id(parameter) for parameter in parameters}
    chosen = [layer for layer in search.layers if id(layer.weight) in ids]
    heads = _last_of_heads(search, is_head_name, search.structure.heads)
    last = [layer for layer in search.outside[-1:] if layer is search.layers[-1] and layer.kind == "Linear"]
    last = [layer for layer in last if not is_modulation(layer)]
    taken = ", ".join(dict.fromkeys(layer.path for layer in chosen)) or "another weight"
    doubts = {
        id(layer.weight): f"although it has an output's name or place, because {taken} counts as the output; {REMEDY}"
        for layer in [*(layer for of_head in heads.values() for layer in of_head), *search.ends, *last]
        if id(layer.weight) not in ids and not _is_read_on(layer, chosen)
    }
    return FoundOutput(parameters, doubts)


def _none_found(places: Sequence[Place], roles: Mapping[str, Role]) -> FoundOutput:
    """Return a note on the last matrix of a model in which no layer may be an output."""
    matrices = [
        place.parameter for place in places if roles[place.name] in ("hidden", "conv") and not is_adapter(place)
    ]
    doubt = "because no output layer was found; pass output=... if the model has one"
    return FoundOutput(doubts={id(parameter): doubt for parameter in matrices[-1:]})


def _last_of_heads(search: Search, is_named: Callable[[str], bool], by_class: set[str]) -> dict[str, list[Layer]]:
    """Return the last layers of each module with an output's name or class, by its path."""
    paths = (_head_path(layer.path.split("."), is_named, by_class) for layer in search.outside)
    return {path: _last_of(path, search) for path in paths if path is not None}


def _head_path(parts: list[str], is_named: Callable[[str], bool], by_class: set[str]) -> str | None:
    paths = [".".join(parts[: depth + 1]) for depth in range(len(parts))]
    return next((path for path, part in zip(paths, parts, strict=True) if is_named(part) or path in by_class), None)


def _last_of(head: str, search: Search) -> list[Layer]:
    """Return the last layer of a head, or of each head in a list, and the layers beside it that read the same."""
    children = len(head.split(".")) + 1 if head in search.structure.lists else 0
    by_child: dict[str, list[Layer]] = {}
    for layer in search.outside:
        if f"{layer.path}.".startswith(f"{head}."):
            by_child.setdefault(".".join(layer.path.split(".")[:children]), []).append(layer)
    return [layer for inside in by_child.values() for layer in _ends_of(inside, search)]


def _ends_of(inside: Sequence[Layer], search: Search) -> list[Layer]:
    """Return the layers of a head that nothing reads, or else its last layer, and those beside it that read alike."""
    loose = [layer for layer in inside if layer in search.ends]
    last = loose[-1] if loose else inside[-1]
    upwards = reversed(inside[: inside.index(last)])
    return list(dict.fromkeys([*loose, last, *takewhile(is_beside(last, search.layers), upwards)]))


def _later(layer: Layer, layers: Sequence[Layer]) -> list[Layer]:
    """Return the linear layers that come after `layer` and are as near to the top."""
    after = layers[layers.index(layer) + 1 :]
    return [other for other in after if other.is_linear and other.depth <= layer.depth]


def _is_read_on(layer: Layer, others: Iterable[Layer]) -> bool:
    return any(feeds(layer, other) for other in others)
