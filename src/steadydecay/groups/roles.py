"""Which role each parameter of a model has, found from the modules it lives in."""

import difflib
import fnmatch
import math
import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Literal, NamedTuple, final, get_args

from torch import nn

from steadydecay.groups.output_layer import FoundOutput, found_output, is_adapter
from steadydecay.groups.places import Place, class_names, places_of
from steadydecay.groups.routers import router_names
from steadydecay.groups.undecayed import is_state_space

Role = Literal["hidden", "output", "embedding", "vector", "conv", "router"]
ROLES: tuple[Role, ...] = get_args(Role)
Output = None | Literal[False] | str | Sequence[str] | nn.Module

# Classes whose own parameters are gains, however many axes they have: LayerNorm((8, 4, 4)), norms of each head.
# Not a NormalizingFlow's.
NORM_CLASS = re.compile(
    r"(?i)(?!.*(linear|conv|attn|attention|embed|head|mlp|ffn|block|transformer)).*norm(?!al(?!ization)).*"
)
# Names that tell the role of a parameter that stands in no layer of torch's.
VECTOR_NAME = re.compile(r"\w*bias(es)?(_[a-z])?|(\w*_)?(scale|gain|gamma)s?(_?\d)?")
TABLE_NAME = re.compile(
    r"\w*embed\w*|\w*bias_table|rel_pos_\w+|emb_rel_\w+|latents_\w+|codevectors"
    r"|(\w*_)?(emb|pos|position|positional|tokens?|latents|prompts?|codebooks?)(_(emb|enc|encoding|table|delta))?(_[a-z]|\d)?"
)
MATRIX_NAME = re.compile(
    r"(\w*_)?(weights?(_[a-z]+\w*)?|kernel|proj|projection|matrix|experts?|[wv]\d*|W\w*)|w?(q|k|v|o|qk|kv|qkv)"
)
LORA_MATRIX = re.compile(r"\w*lora_(embedding_)?([ABab]|down|up)")


@final
class FoundRole(NamedTuple):
    """The role of a parameter, and what makes it doubtful; "" where nothing does."""

    role: Role
    doubt: str = ""


def main_role(roles: Sequence[str]) -> str:
    """The role whose norms are shown: "hidden", or the first where none has that name; "hidden" if there are none."""
    return "hidden" if "hidden" in roles or not roles else roles[0]


def roles_of(model: nn.Module, output: Output = None) -> dict[str, Role]:
    """The role of each parameter by its first name; `output` as in `param_groups`.

    Raises:
        ValueError: an output pattern that matches no parameter, or an output module without any of the model's.
    """
    return {name: found.role for name, found in found_roles(model, output).items()}


def found_roles(model: nn.Module, output: Output = None) -> dict[str, FoundRole]:
    """As `roles_of`, with what was guessed."""
    places = places_of(model)
    routers = router_names(places)
    of_output = _output(model, places, routers, output)
    chosen = {id(parameter) for parameter in of_output.parameters}
    found = {}
    first_names = {name for name, _ in model.named_parameters()}
    for place in places:
        if place.name in first_names:
            role = _role(place, id(place.parameter) in chosen, place.name in routers)
            guess = of_output.doubts.get(id(place.parameter)) or _doubt(place, role)
            found[place.name] = FoundRole(role, guess)
    return found


def require_match(pattern: str, names: Iterable[str], argument: str) -> list[str]:
    """Names that match as a whole, or lie in a module of that name; ValueError with the nearest where none does."""
    names = list(names)
    matches = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
    if argument == "output":
        matches += [name for name in names if fnmatch.fnmatchcase(name, f"{pattern}.*")]
    if not matches:
        nearest = difflib.get_close_matches(pattern, names, n=3, cutoff=0.3) or names[:3]
        raise ValueError(f"{argument} has pattern {pattern!r}, which matches no parameter; nearest names: {nearest}")
    return matches


def _output(model: nn.Module, places: Sequence[Place], routers: set[str], output: Output) -> FoundOutput:
    if output is None:
        return found_output(model, places, routers)
    if output is False:
        return FoundOutput()
    if isinstance(output, nn.Module):
        own, chosen = {id(place.parameter) for place in places}, list(output.parameters())
        if chosen and not any(id(parameter) in own for parameter in chosen):
            raise ValueError(
                f"output is a {type(output).__name__} that has no parameter of the model; give one of its own"
            )
        return FoundOutput(chosen)
    by_name = {name: place.parameter for place in places for name in (place.plain_name, place.name)}
    patterns = [output] if isinstance(output, str) else output
    return FoundOutput([by_name[name] for pattern in patterns for name in require_match(pattern, by_name, "output")])


def _role(place: Place, is_output: bool, is_router: bool) -> Role:
    if _is_vector(place):
        return "vector"
    if is_output and not is_adapter(place):
        return "output"
    if is_router:
        return "router"
    if _is_table(place):
        return "embedding"
    return "conv" if _is_kernel(place) else "hidden"


def _is_vector(place: Place) -> bool:
    shape, name = place.shape, _own_name(place)
    if len(shape) < 2 or place.is_magnitude or is_state_space(place):
        return True
    # A stack of experts has a stack of biases.
    is_gain = _is_norm(class_names(place.owner)) or VECTOR_NAME.fullmatch(name)
    return bool(is_gain) or (_is_one_line(place) and not LORA_MATRIX.fullmatch(name))


@cache
def _is_norm(names: tuple[str, ...]) -> bool:
    return any(NORM_CLASS.fullmatch(name) for name in names)


def _is_one_line(place: Place) -> bool:
    """Whether a parameter is one row or column that no layer multiplies as a matrix: class tokens, IA³'s gains."""
    is_matrix = len(place.shape) == 2 and _is_layer(place)
    return math.prod(place.shape) == max(place.shape) and not is_matrix and not _is_kernel(place)


def _is_table(place: Place) -> bool:
    if LORA_MATRIX.fullmatch(_own_name(place)):
        return False
    if isinstance(place.owner, nn.Embedding | nn.EmbeddingBag) or TABLE_NAME.fullmatch(_own_name(place)):
        return True
    return place.tensor == "weight" and any(re.search("Embeddings?$", name) for name in class_names(place.owner))


def _is_kernel(place: Place) -> bool:
    is_convolution = any("Conv" in name for name in class_names(place.owner)) and place.tensor == "weight"
    return isinstance(place.owner, nn.modules.conv._ConvNd) or (is_convolution and len(place.shape) > 2)


def _is_layer(place: Place) -> bool:
    """Whether a parameter belongs to a layer of torch's, or one that is named like them."""
    kinds = type(place.owner).__mro__
    is_of_torch = any(kind.__module__.startswith("torch.nn.modules.") and kind is not nn.Module for kind in kinds)
    is_container = isinstance(place.owner, nn.ParameterDict | nn.ParameterList)
    is_named = any(re.search(r"Linear|Dense|Conv1D|Embedding|Router|Gate", kind.__name__) for kind in kinds)
    return (is_of_torch and not is_container) or (is_named and place.tensor == "weight")


def _own_name(place: Place) -> str:
    """What a parameter is called: in a ParameterDict, as PEFT has them, what the dict is called."""
    is_in_container = isinstance(place.owner, nn.ParameterDict | nn.ParameterList)
    return place.path.rpartition(".")[2] if is_in_container else place.tensor


def _doubt(place: Place, role: Role) -> str:
    """What is guessed of a bare parameter of a module that torch does not know; "" where its name tells."""
    name, axes, kind = _own_name(place), len(place.shape), type(place.owner).__name__
    if name == "_flat_param":
        return "as one flat parameter that FSDP makes of many; say use_orig_params=True or use fully_shard"
    if axes < 2 or _is_layer(place) or is_adapter(place) or place.is_magnitude:
        return ""
    remedy = "say overrides={...: {'role': ...}} if that is wrong"
    if role == "hidden" and (axes > 3 or not MATRIX_NAME.fullmatch(name)):
        return f"as a parameter of {kind} with {axes} axes whose name does not tell; {remedy}"
    if role == "vector" and axes == 2 and MATRIX_NAME.fullmatch(name) and _is_one_line(place):
        return f"as a parameter of {kind} with one row or column; {remedy}"
    return ""
