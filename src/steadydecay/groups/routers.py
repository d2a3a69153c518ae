"""Find the routers of a model, the matrices that choose the experts of a token."""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import NamedTuple, final

from torch import nn

from steadydecay.groups.places import Place, class_names, plain_modules

ROUTER_CLASS = re.compile(r"Router|Top[kK1]\w*Gat(e|ing)|[mM]o[eE]\w*Gate|NaiveGate")
ROUTER_NAME = re.compile(
    r"(\w+_)?routers?(_\w+)?|expert_(selector|selection|gates?|choice|scor(e|er|es|ing)|classifier)"
)
# Names of routers only if experts stand beside them. Elsewhere a gate may be half of a gated layer.
GATE_NAME = re.compile(
    r"(\w+_)?(gates?|gating|switch|route|routing|selector|dispatch(er)?|wg|w_noise)(_net|_network|_layer|_fn|_weights?)?"
)
MIXTURE_NAME = re.compile(r"(?i)(\w*_)?moe(_\w*)?|\w*mixture_?of_?experts\w*|moe\w*|\w*moe(layer|block|ffn|mlp)?")
REMEDY = "pass overrides={...: {'role': ...}} if that is wrong"


@final
class Mixture(NamedTuple):
    """What a module may route to: the sizes of its lists and stacks, whether or not they are called experts."""

    experts: set[int]
    others: set[int]
    has_experts: bool


def routers_of(model: nn.Module, places: Sequence[Place]) -> dict[str, str]:
    """Return the names of the matrices that route, each with the reason if that is a guess ("" if it is not).

    They are in a module called router or of a class of routers (Qwen, Mixtral, Switch), in one called gate or switch
    that stands beside experts (DeepSeek, DeepSpeed), or they have one row for each of the experts beside them.
    """
    mixtures = _mixtures(model, places)
    doubts = {place.name: _doubt_of_router(place, mixtures) for place in places if len(place.shape) == 2}
    return {name: doubt for name, doubt in doubts.items() if doubt is not None}


def _doubt_of_router(place: Place, mixtures: Mapping[str, Mixture]) -> str | None:
    """Return the reason why a router is a guess, "" if it is not, or None if the matrix is not a router."""
    if _is_router(class_names(place.owner)) or any(ROUTER_NAME.fullmatch(part) for part in place.parts):
        return ""
    for depth, part in enumerate(place.parts):
        mixture = mixtures.get(".".join(place.parts[:depth]))
        doubt = None if mixture is None else _doubt_beside(place, depth, part, mixture)
        if doubt is not None:
            return doubt
    return None


def _doubt_beside(place: Place, depth: int, part: str, mixture: Mixture) -> str | None:
    # The outputs of a Linear are its rows. Those of a bare matrix may be its columns.
    written = {place.shape[0]} if isinstance(place.owner, nn.Linear) else set(place.shape)
    is_gate = GATE_NAME.fullmatch(part) is not None
    if is_gate and mixture.has_experts:
        return ""
    is_beside = len(place.parts) - depth <= 2 and "expert" not in part
    routed_to = written & (mixture.others if is_gate else mixture.experts)
    if not is_beside or not routed_to:
        return None
    what = "modules" if is_gate else "experts"
    return f"because it has one row for each of the {max(routed_to)} {what} beside it; {REMEDY}"


@cache
def _is_router(names: tuple[str, ...]) -> bool:
    return any(ROUTER_CLASS.search(name) for name in names)


def _mixtures(model: nn.Module, places: Iterable[Place]) -> dict[str, Mixture]:
    """Return the modules that hold experts, or lists of modules, by their path."""
    found: dict[str, Mixture] = {}
    for path, module in plain_modules(model):
        is_list = isinstance(module, nn.ModuleList | nn.ModuleDict)
        if is_list and len(module) > 1 and not _holds_lists(module):
            _add(found, path, len(module))
    for place in places:
        parts = place.parts
        for depth, part in enumerate(parts):
            is_stack = len(place.shape) == 3 and depth + 2 >= len(parts)
            if "expert" in part or (is_stack and depth + 1 == len(parts) and _is_called_mixture(place)):
                _add(found, ".".join(parts[: depth + 1]), place.shape[0] if is_stack else None, holds_experts=True)
    return found


def _holds_lists(module: nn.ModuleList | nn.ModuleDict) -> bool:
    return any(isinstance(child, nn.ModuleList | nn.ModuleDict) for child in module.children())


def _is_called_mixture(place: Place) -> bool:
    names = (*class_names(place.owner), place.path.rpartition(".")[2])
    return any(MIXTURE_NAME.search(name) for name in names)


def _add(mixtures: dict[str, Mixture], path: str, size: int | None, holds_experts: bool = False) -> None:
    above, _, name = path.rpartition(".")
    holds_experts |= "expert" in name or MIXTURE_NAME.fullmatch(above.rpartition(".")[2]) is not None
    mixture = mixtures.get(above, Mixture(set(), set(), has_experts=False))
    if size is not None:
        (mixture.experts if holds_experts else mixture.others).add(size)
    mixtures[above] = mixture._replace(has_experts=mixture.has_experts or holds_experts)
