"""Which matrices of a model route: they choose the experts of a token."""

import re
from collections.abc import Iterable
from functools import cache

from steadydecay.groups.places import Place, class_names

ROUTER_CLASS = re.compile(r"Router|Top[kK1]\w*Gat(e|ing)|[mM]o[eE]\w*Gate|NaiveGate")
ROUTER_NAME = re.compile(r"(\w+_)?routers?(_\w+)?")
# What routes only beside experts: elsewhere a gate may be half of a gated layer.
GATE_NAME = re.compile(r"(\w+_)?(gates?|gating|wg|w_noise)(_net|_network|_weights?)?")


def router_names(places: Iterable[Place]) -> set[str]:
    """Names of the matrices that route.

    They lie in a module called router or of a class of routers (Qwen, Mixtral, Switch), or in one called gate that
    stands beside experts (DeepSeek, DeepSpeed, and `self.gate` beside `self.experts` in what people write).
    """
    places = list(places)
    mixtures = {
        ".".join(parts[:depth])
        for parts in (place.parts for place in places)
        for depth, part in enumerate(parts)
        if "expert" in part
    }
    return {place.name for place in places if len(place.shape) == 2 and _routes(place, mixtures)}


def _routes(place: Place, mixtures: set[str]) -> bool:
    if _is_router(class_names(place.owner)):
        return True
    parts = place.parts
    return any(
        ROUTER_NAME.fullmatch(part) or (GATE_NAME.fullmatch(part) and ".".join(parts[:depth]) in mixtures)
        for depth, part in enumerate(parts)
    )


@cache
def _is_router(names: tuple[str, ...]) -> bool:
    return any(ROUTER_CLASS.search(name) for name in names)
