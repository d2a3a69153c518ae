"""Which layer of a model is its output: by what the model says, by tied weights, by names, or as the last Linear."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, NamedTuple, final

from torch import Tensor, nn

from steadydecay.groups.places import INSERTED, Place, class_names, unwrapped

OUTPUT_MODULE_NAMES = {"lm_head", "head", "classifier", "output", "fc_out", "score", "fc", "unembed", "unembedding"}
# Names that hidden layers have as well: such a layer is the output only if no later one reads what it writes.
WEAK_NAMES = {"output", "fc", "summary", "final_layer"}
HEAD_NAME = re.compile(
    r"(\w+_)?(heads?|classifiers?|logits|predictor|predictions?)|logits_\w+|head_\w+"
    r"|(\w+_)?(qa_outputs|embed_out|output_layer|output_projection|last_linear|class_embed|bbox_embed)"
)
NO_HEAD_NAME = re.compile(r"pre_\w+|\w*(attn|attention|pool|proj|projection)\w*_heads?")
# Low-rank and other additions of PEFT to a layer, which are not the layer.
ADAPTER_PART = re.compile(r"(lora|ia3|hada|lokr|vera|oft|boft|randlora|adapter|token_adapter)(_.*)?")
ACCESSORS = ("get_output_embeddings", "get_classifier")
REMEDY = "say output=... if that is wrong"


@final
@dataclass(frozen=True, eq=False)
class Layer:
    """A linear layer or a convolution: where it stands, its weight, and all of its parameters."""

    path: str
    weight: Tensor
    shape: tuple[int, ...]
    parameters: tuple[Tensor, ...]
    is_linear: bool

    @property
    def depth(self) -> int:
        """How many modules hold it."""
        return self.path.count(".")


@final
class Structure(NamedTuple):
    """Paths of modules that tell what of a model may be an output.

    Attributes:
        lists: of what holds several modules side by side.
        repeated: of those that repeat a layer of a network.
        encoders: of modules that say that they have no output embeddings, as Hugging Face's encoders do.
        headless: of encoders in which what is called a head is none.
    """

    lists: set[str]
    repeated: set[str]
    encoders: set[str]
    headless: set[str]


@final
class FoundOutput(NamedTuple):
    """The output layer.

    Attributes:
        parameters: of it; none where there is none.
        doubts: what was guessed and why, by the id of the parameter that the guess is about.
    """

    parameters: Sequence[Tensor] = ()
    doubts: dict[int, str] = {}  # noqa: RUF012


def found_output(model: nn.Module, places: Sequence[Place], routers: set[str]) -> FoundOutput:
    """The output layer as far as the model tells.

    Args:
        model: only read.
        places: of its parameters, under all of their names.
        routers: names of parameters that are no output whatever they are called.
    """
    layers = list(_layers(place for place in places if place.name not in routers))
    answers = [accessor() for accessor in _accessors(model)]
    if said := [p for answer in answers for module in _modules_in(answer) for p in module.parameters()]:
        return _with_doubts(_structure(model), layers, said)
    # timm's way to say that there is no classifier is an Identity.
    if any(isinstance(answer, nn.Module) for answer in answers):
        return FoundOutput()
    structure = _structure(model)
    if parameters := _tied(places) or _named(structure, layers):
        return _with_doubts(structure, layers, parameters)
    return _last_linear(structure, layers, says_none=bool(answers))


def is_adapter(place: Place) -> bool:
    """Whether a parameter is an addition to a layer, such as LoRA's A and B."""
    return any(ADAPTER_PART.fullmatch(part) for part in place.parts)


def is_head_name(name: str) -> bool:
    """Whether output layers, and what holds them, have this name, and other layers hardly ever.

    >>> [is_head_name(name) for name in ("to_logits", "classifier", "fc", "pre_classifier")]
    [True, True, False, False]
    """
    is_head = name in OUTPUT_MODULE_NAMES - WEAK_NAMES or HEAD_NAME.fullmatch(name)
    return bool(is_head) and not NO_HEAD_NAME.fullmatch(name)


def _accessors(model: nn.Module) -> Iterator[Callable[[], Any]]:
    _, chain = unwrapped(model)
    for module in chain:
        yield from filter(callable, (getattr(module, name, None) for name in ACCESSORS))


def _modules_in(answer: Any) -> list[nn.Module]:
    """One module, several (distilled DeiT), a table of them, or none."""
    answers = answer.values() if isinstance(answer, dict) else answer if isinstance(answer, list | tuple) else [answer]
    return [one for one in answers if isinstance(one, nn.Module)]


def _layers(places: Iterable[Place]) -> Iterator[Layer]:
    by_owner: dict[int, list[Place]] = {}
    for place in places:
        if not is_adapter(place):
            by_owner.setdefault(id(place.owner), []).append(place)
    for of_owner in by_owner.values():
        weight = next((p for p in of_owner if p.tensor == "weight" and not p.is_magnitude), None)
        if weight is None or len(weight.shape) < 2:
            continue
        is_linear = isinstance(weight.owner, nn.Linear) or any("Linear" in name for name in class_names(weight.owner))
        if is_linear or isinstance(weight.owner, nn.modules.conv._ConvNd):
            yield Layer(
                weight.path, weight.parameter, weight.shape, tuple(place.parameter for place in of_owner), is_linear
            )


def _tied(places: Sequence[Place]) -> list[Tensor]:
    in_embeddings = {id(place.parameter) for place in places if isinstance(place.owner, nn.Embedding)}
    return [p.parameter for p in places if id(p.parameter) in in_embeddings and not isinstance(p.owner, nn.Embedding)]


def _named(structure: Structure, layers: Sequence[Layer]) -> list[Tensor]:
    """Parameters of the layers nearest to the top with an output's name that no other layer reads on."""
    outside = _candidates(structure, layers)
    heads = _last_of_heads(structure, outside)
    depth = min((path.count(".") for path in heads), default=0)
    nearest = [layer for path, of_head in heads.items() if path.count(".") == depth for layer in of_head]
    chosen = [layer for layer in nearest if not _is_read_on(layer, [*nearest, *_later(layer, outside)])]
    return [p for layer in chosen or _weakly_named(outside) for p in layer.parameters]


def _weakly_named(layers: Sequence[Layer]) -> list[Layer]:
    """The last of the nearest to the top with a name like "fc", unless a later layer reads what it writes."""
    weak = [layer for layer in layers if _last(layer.path) in WEAK_NAMES and layer.is_linear]
    if not weak:
        return []
    layer = min(reversed(weak), key=lambda found: found.depth)
    return [] if _is_read_on(layer, _later(layer, layers)) else [layer]


def _with_doubts(structure: Structure, layers: Sequence[Layer], parameters: Sequence[Tensor]) -> FoundOutput:
    """The output, with a doubt of each layer that might be one by its name or place, unless the output reads it."""
    outside, ids = _candidates(structure, layers), {id(parameter) for parameter in parameters}
    chosen = [layer for layer in layers if id(layer.weight) in ids]
    linears = [layer for layer in outside if layer.is_linear and layer is layers[-1]]
    others = [layer for of_head in _last_of_heads(structure, outside).values() for layer in of_head]
    taken = ", ".join(dict.fromkeys(layer.path for layer in chosen)) or "another weight"
    doubts = {
        id(layer.weight): f"although it has an output's name or place, because {taken} is taken for it; {REMEDY}"
        for layer in [*others, *linears]
        if id(layer.weight) not in ids and not _is_read_on(layer, chosen)
    }
    return FoundOutput(parameters, doubts)


def _last_linear(structure: Structure, layers: Sequence[Layer], says_none: bool) -> FoundOutput:
    linears = [layer for layer in layers if layer.is_linear]
    if not linears:
        return FoundOutput()
    last = linears[-1]
    if says_none and _is_below(last.path, structure.repeated):
        return FoundOutput()
    reason = _why_not(structure, last, layers, says_none)
    if reason is not None:
        return FoundOutput(doubts={id(last.weight): f"although it is the last Linear, because {reason}; {REMEDY}"})
    doubt = f"because it is the last Linear; {REMEDY}"
    if last.shape[0] == last.shape[1]:
        return FoundOutput(last.parameters, {id(last.weight): doubt})
    beside = list(takewhile(_is_beside(last), reversed(linears)))
    doubts = {id(layer.weight): f"because it stands beside {last.path}, the last Linear; {REMEDY}" for layer in beside}
    return FoundOutput([p for layer in beside for p in layer.parameters], doubts | {id(last.weight): doubt})


def _why_not(structure: Structure, last: Layer, layers: Sequence[Layer], says_none: bool) -> str | None:
    """Why the last Linear is no output, None if it may be one."""
    if says_none or _is_below(last.path, structure.encoders):
        return "the model says that it has no output layer"
    if last not in _candidates(structure, layers):
        return "it stands in the last of several like layers"
    return "a convolution comes after it" if layers[-1] is not last else None


def _structure(model: nn.Module) -> Structure:
    found = Structure(set(), set(), set(), set())
    for path, module in _plain_modules(model):
        if isinstance(module, nn.ModuleList | nn.ModuleDict):
            found.lists.add(path)
        if _repeats_layers(module) and not is_head_name(_last(path)):
            found.repeated.add(path)
        if path and callable(getattr(module, ACCESSORS[0], None)):
            found.encoders.add(path)
        if _is_headless(module):
            found.headless.add(path)
    return found


def _repeats_layers(module: nn.Module) -> bool:
    """Whether it holds layers of a network one after the other, each of several modules."""
    is_stack = isinstance(module, nn.ModuleList) or (isinstance(module, nn.Sequential) and _is_repeated(module))
    return is_stack and any(next(child.children(), None) is not None for child in module.children())


def _is_repeated(module: nn.Sequential) -> bool:
    """Whether a Sequential repeats one block: the same class, with the same shapes at both ends."""
    kinds = {type(child) for child in module.children()}
    shapes = [[parameter.shape for parameter in child.parameters()] for child in module.children()]
    return len(module) > 1 and len(kinds) == 1 and shapes[0] == shapes[-1]


def _plain_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    prefix, _ = unwrapped(model)
    for path, module in model.named_modules():
        yield INSERTED.sub("", f"{path}.".removeprefix(prefix)).removesuffix("."), module


def _candidates(structure: Structure, layers: Iterable[Layer]) -> list[Layer]:
    """Layers that may be an output: neither in one of several like layers nor in an encoder without a head."""
    excluded = structure.repeated | structure.headless
    return [layer for layer in layers if not _is_below(layer.path, excluded)]


def _is_headless(module: nn.Module) -> bool:
    """Whether it is an encoder of Hugging Face's, in which what is called a head pools, or predicts durations.

    Encoders are their own base; so are a few models with a head, which are called ...For...
    """
    return getattr(module, "base_model", None) is module and not re.search("For[A-Z]", type(module).__name__)


def _last_of_heads(structure: Structure, layers: Sequence[Layer]) -> dict[str, list[Layer]]:
    """The layers that end each module with an output's name, by its path."""
    paths = (_head_path(layer.path.split(".")) for layer in layers)
    return {path: _last_of(path, layers, structure.lists) for path in paths if path is not None}


def _head_path(parts: list[str]) -> str | None:
    return next((".".join(parts[: depth + 1]) for depth, part in enumerate(parts) if is_head_name(part)), None)


def _last_of(head: str, layers: Sequence[Layer], lists: set[str]) -> list[Layer]:
    """The last layer of a head, or of each head in a list of heads, and those beside it that read the same."""
    children = len(head.split(".")) + 1 if head in lists else 0
    by_child: dict[str, list[Layer]] = {}
    for layer in layers:
        if f"{layer.path}.".startswith(f"{head}."):
            by_child.setdefault(".".join(layer.path.split(".")[:children]), []).append(layer)
    return [layer for inside in by_child.values() for layer in takewhile(_is_beside(inside[-1]), reversed(inside))]


def _is_beside(last: Layer) -> Callable[[Layer], bool]:
    """Whether a layer stands beside `last` and reads what it reads, as scores beside boxes do."""
    parent, columns = last.path.rpartition(".")[0], last.shape[1]
    return lambda layer: (
        layer.path.rpartition(".")[0] == parent and layer.shape[1] == columns and not _feeds(layer, last)
    )


def _later(layer: Layer, layers: Sequence[Layer]) -> list[Layer]:
    """Linear layers that come after one, as near to the top as it."""
    after = layers[layers.index(layer) + 1 :]
    return [other for other in after if other.is_linear and other.depth <= layer.depth]


def _is_read_on(layer: Layer, others: Iterable[Layer]) -> bool:
    return any(_feeds(layer, other) for other in others)


def _feeds(layer: Layer, other: Layer) -> bool:
    """Whether sizes say that `other` reads what `layer` writes, and not the other way round."""
    (rows, columns), (other_rows, other_columns) = layer.shape[:2], other.shape[:2]
    return rows == other_columns and other_rows != columns


def _is_below(path: str, above: Collection[str]) -> bool:
    parts = path.split(".")
    return any(".".join(parts[:depth]) in above for depth in range(len(parts)))


def _last(path: str) -> str:
    return path.rpartition(".")[2]
