"""Find the output layer of a model that does not name it: the layer that nothing reads, or the last one."""

from collections.abc import Iterator, Sequence
from itertools import takewhile

from steadydecay.groups.layers import Layer
from steadydecay.groups.loose_ends import is_beside, is_normalised
from steadydecay.groups.model_structure import is_below
from steadydecay.groups.output_search import REMEDY, FoundOutput, Search


def output_by_place(search: Search, says_none: bool) -> FoundOutput:
    """Return all layers that nothing reads, or else the last layer, as a guess.

    Args:
        search: A search with at least one layer.
        says_none: Whether the model says that it has no output layer. Then there is none, and each layer that looks
            like one gets a note.
    """
    last = search.layers[-1]
    reason = _why_not(search, last, says_none)
    if says_none:
        return _none_said(search, last, f"because {reason}")
    ends = [layer for layer in search.ends if not is_below(layer.path, search.structure.encoders)]
    chosen = ends or ([last] if reason is None else [])
    chosen += [layer for layer in _beside_last(search, chosen) if layer not in chosen]
    # PEFT keeps a copy of the modules that it saves, at the same path.
    paths = {layer.path for layer in chosen}
    chosen += [layer for layer in search.outside if layer.path in paths and layer not in chosen]
    last_of_kinds = {layer.kind: layer for layer in search.layers}.values()
    doubts = {
        id(layer.weight): f"because it is the last {layer.kind}; {REMEDY}"
        if layer in last_of_kinds
        else f"because no later layer reads what it writes; {REMEDY}"
        for layer in chosen
    }
    return FoundOutput([layer.weight for layer in chosen], dict(_doubts_of_others(search, chosen, reason)) | doubts)


def _none_said(search: Search, last: Layer, reason: str) -> FoundOutput:
    looks = {id(layer.weight): "although no later layer reads what it writes" for layer in search.ends}
    if not is_below(last.path, search.structure.repeated):
        looks[id(last.weight)] = f"although it is the last {last.kind}"
    return FoundOutput(doubts={key: f"{look}, {reason}; {REMEDY}" for key, look in looks.items()})


def _beside_last(search: Search, chosen: Sequence[Layer]) -> Iterator[Layer]:
    """Yield layers beside the last of those chosen that read the same; this cannot be told for a square layer."""
    if chosen and chosen[-1].writes != chosen[-1].reads:
        upwards = reversed(search.layers[: search.layers.index(chosen[-1])])
        beside = takewhile(is_beside(chosen[-1], search.layers), upwards)
        yield from (layer for layer in beside if layer in search.outside)


def _doubts_of_others(search: Search, chosen: Sequence[Layer], reason: str | None) -> Iterator[tuple[int, str]]:
    """Yield layers that may be an output too: the last, and those that may be read by another, judging by sizes."""
    last = search.layers[-1]
    if chosen:
        beside = f"although it may be an output beside {chosen[-1].path}, because sizes do not show what reads it"
        for layer in [*search.ends, *search.maybe_ends, *_ends_of_towers(search, chosen[-1])]:
            yield id(layer.weight), f"{beside}; {REMEDY}"
    if reason is not None:
        yield id(last.weight), f"although it is the last {last.kind}, because {reason}; {REMEDY}"


def _ends_of_towers(search: Search, last: Layer) -> Iterator[Layer]:
    """Yield the last layers of modules that read what the module of the last layer reads, as a second tower does."""
    towers: dict[str, list[Layer]] = {}
    for layer in search.layers:
        towers.setdefault(layer.path.partition(".")[0], []).append(layer)
    of_last = towers[last.path.partition(".")[0]]
    for tower in towers.values():
        are_alike = min(len(tower), len(of_last)) > 1 and tower[0].reads == of_last[0].reads
        if are_alike and tower is not of_last and tower[-1] in search.outside:
            yield tower[-1]


def _why_not(search: Search, last: Layer, says_none: bool) -> str | None:
    """Return why the last layer is not an output, or None if it may be one."""
    if says_none or is_below(last.path, search.structure.encoders):
        return "the model says that it has no output layer"
    if last not in search.outside:
        return "it is in the last of several similar layers"
    is_normed = not last.is_linear and is_normalised(last, search.places)
    return "a normalisation comes after it" if is_normed else None
