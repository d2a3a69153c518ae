"""Find the modules of a model that repeat its layers, and those that hold or exclude an output."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, final

from torch import nn

from steadydecay.groups.layers import Layer
from steadydecay.groups.loose_ends import loose_ends
from steadydecay.groups.output_names import is_head_class, is_head_name
from steadydecay.groups.places import Place, plain_modules

# The methods that return None in a model without an output layer.
OUTPUT_ACCESSOR = "get_output_embeddings"


@final
class Structure(NamedTuple):
    """Paths of modules that tell which layers of a model may be an output.

    Attributes:
        lists: Modules that hold several modules side by side.
        repeated: Modules that repeat a layer of a network.
        encoders: Modules that say that they have no output embeddings, as Hugging Face's encoders do.
        headless: Encoders in which a module called a head is not one.
        heads: Modules whose class is that of an output.
        inner: Modules in a Sequential that are followed by another.
    """

    lists: set[str]
    repeated: set[str]
    encoders: set[str]
    headless: set[str]
    heads: set[str]
    inner: set[str]


def structure_of(model: nn.Module, layers: Sequence[Layer], places: Sequence[Place]) -> Structure:
    """Return the structure that the modules of a model tell; `layers` are all of its layers."""
    found = Structure(*(set() for _ in Structure._fields))
    paths = {layer.path for layer in layers}
    for path, module in plain_modules(model):
        if is_head_class(module):
            found.heads.add(path)
        if isinstance(module, nn.ModuleList | nn.ModuleDict):
            found.lists.add(path)
        if _repeats_layers(module, path, found) and not _are_side_by_side(module, path, layers, places):
            found.repeated.add(path)
        if path and callable(getattr(module, OUTPUT_ACCESSOR, None)):
            found.encoders.add(path)
        if _is_headless(module):
            found.headless.add(path)
        if isinstance(module, nn.Sequential):
            found.inner.update(_followed(module, path, paths))
    return found


def candidates(structure: Structure, layers: Iterable[Layer]) -> list[Layer]:
    """Return layers that may be an output: not in one of several like layers, followed, or in a headless encoder."""
    return [
        layer
        for layer in layers
        if not is_below(layer.path, structure.repeated)
        and not is_below(f"{layer.path}.", structure.inner)
        and (not is_below(layer.path, structure.headless) or "lm_head" in layer.path.split("."))
    ]


def is_below(path: str, above: Collection[str]) -> bool:
    """Return whether a path leads through one of `above`."""
    parts = path.split(".")
    return any(".".join(parts[:depth]) in above for depth in range(len(parts)))


def last_part(path: str) -> str:
    """Return the name of a module within its parent."""
    return path.rpartition(".")[2]


def _repeats_layers(module: nn.Module, path: str, found: Structure) -> bool:
    """Return whether a module holds consecutive layers of several modules each, and is not inside another such one."""
    if is_head_name(last_part(path)) or is_below(path, found.heads) or is_below(path, found.repeated):
        return False
    is_stack = isinstance(module, nn.ModuleList) or (isinstance(module, nn.Sequential) and _is_repeated(module))
    return is_stack and any(next(child.children(), None) is not None for child in module.children())


def _followed(module: nn.Sequential, path: str, layers: Collection[str]) -> Iterator[str]:
    """Yield the layers and Sequentials in a Sequential that are followed by another."""
    followed = False
    for name, child in reversed(list(module.named_children())):
        child_path = f"{path}.{name}" if path else name
        if child_path in layers or isinstance(child, nn.Sequential):
            if followed:
                yield child_path
            followed |= next(child.parameters(), None) is not None


def _is_repeated(module: nn.Sequential) -> bool:
    """Return whether a Sequential repeats one block: the same class, with the same shapes at both ends."""
    kinds = {type(child) for child in module.children()}
    shapes = [[parameter.shape for parameter in child.parameters()] for child in module.children()]
    return len(module) > 1 and len(kinds) == 1 and shapes[0] == shapes[-1]


def _are_side_by_side(module: nn.Module, path: str, layers: Sequence[Layer], places: Sequence[Place]) -> bool:
    """Return whether the modules of a list are not consecutive layers: by sizes none reads what another writes."""
    if not isinstance(module, nn.ModuleList) or len(module) < 2 or "expert" in path:
        return False
    prefix = f"{path}." if path else ""
    within = [layer for layer in layers if layer.path.startswith(prefix)]
    children = [[layer for layer in within if layer.path.startswith(f"{prefix}{i}.")] for i in range(len(module))]
    if not all(children):
        return False
    ends = loose_ends([child[-1] for child in children], within, places)
    return len(ends) == len(children) and all(after[0].reads == before[0].reads for before, after in pairwise(children))


def _is_headless(module: nn.Module) -> bool:
    """Return whether a module is an encoder of Hugging Face's, in which a "head" pools or predicts durations.

    Encoders are their own base model. So are a few models with a head, which are called ...For...
    """
    return getattr(module, "base_model", None) is module and not re.search("For[A-Z]", type(module).__name__)
