"""Find the role that a parameter has by its own class, name and shape, whatever the model does with it."""

import math
import re
from functools import cache
from typing import Literal, get_args

from torch import nn

from steadydecay.groups.places import Place, class_names, is_adapter
from steadydecay.groups.undecayed import is_state_space

Role = Literal["hidden", "output", "embedding", "vector", "conv", "router"]
ROLES: tuple[Role, ...] = get_args(Role)

# Classes whose own parameters are gains, however many axes they have, such as LayerNorm((8, 4, 4)) and norms of each
# head. What may follow "Norm" is listed, because NormFormer and NormFreeNet are networks.
NORM_CLASS = re.compile(
    r"(?i)(?!.*(linear|conv|attn|attention|embed|head\b|mlp|ffn|block|transformer)).*norm(alization)?"
    r"(_?(layers?|gated|act(ivation)?|affine|simple|fast|exp|tlu|no_?bias|(with)?_?bias|per_?head|no_?scale|zero|split"
    r"|fp\d+|float\d+|\d+[dp]?|[bs]\d[a-z]?))*"
)
# Names that tell the role of a parameter that is not in a layer of torch's.
VECTOR_NAME = re.compile(r"\w*bias(es)?(_[a-z])?|b_\w+|(\w*_)?(scale|gain|gamma)s?(_?\d)?")
BIAS_TABLE_NAME = re.compile(r"\w*bias_table|(\w*_)?(rel|relative|attention|attn|position|positional)(_\w+)?_bias(es)?")
TABLE_NAME = re.compile(
    r"(?!\w*(un|de)_?embed)\w*embed\w*|rel_pos_\w+|(height|width)_rel|rel_(height|width|h|w)|emb_rel_\w+|latents_\w+"
    r"|codevectors|W_E|w[tp]e"
    r"|(\w*_)?(emb|pos|position|positional|tokens?|latents|prompts?|codebooks?)(_(emb|enc|encoding|table|delta))?(_[a-z]|\d)?"
)
MATRIX_NAME = re.compile(
    r"(\w*_)?(weights?(_[a-z]+\w*)?|kernel|proj|projection|matrix|experts?|[wv]\d*|W\w*|un_?embed(ding)?)"
    r"|w?(q|k|v|o|qk|kv|qkv)"
)
LORA_MATRIX = re.compile(r"\w*lora_(embedding_)?([ABab]|down|up)")
LAYER_CLASS = re.compile(r"Linear|Dense|Conv1D|Embedding|Router|Gate")
REMEDY = "pass overrides={...: {'role': ...}} if that is wrong"
# The longest axis that still counts as a kernel; matrices of graph convolutions have more columns.
LONGEST_KERNEL = 15


def intrinsic_role(place: Place, is_router: bool) -> Role:
    """Return the role of a parameter, assuming that it is not an output layer."""
    if _is_vector(place):
        return "vector"
    if is_router:
        return "router"
    if _is_table(place):
        return "embedding"
    return "conv" if _is_kernel(place) else "hidden"


def doubt_of(place: Place, role: Role) -> str:
    """Return why the role of a bare parameter in a module unknown to torch is a guess; "" if its name tells."""
    name, axes, kind = own_name(place), len(place.shape), type(place.owner).__name__
    if name == "_flat_param":
        return "because FSDP has flattened many parameters into this one; pass use_orig_params=True or use fully_shard"
    if axes < 2 or is_adapter(place) or place.is_magnitude:
        return ""
    if doubt := _doubt_of_kernel(place, role):
        return doubt
    if _is_layer(place):
        return ""
    if role == "hidden" and (axes > 3 or not MATRIX_NAME.fullmatch(name)):
        return f"because it is a parameter of {kind} with {axes} axes whose name does not tell its role; {REMEDY}"
    if role == "vector" and axes == 2 and MATRIX_NAME.fullmatch(name) and _is_one_line(place):
        return f"because it is a parameter of {kind} with one row or column; {REMEDY}"
    return ""


def is_norm(module: nn.Module) -> bool:
    """Return whether a module is a normalisation by its class. A module that holds layers is a network instead.

    >>> is_norm(nn.LayerNorm(4)), is_norm(nn.Linear(4, 4))
    (True, False)
    """
    holds_layers = any(next(child.parameters(), None) is not None for child in module.children())
    return _is_named_norm(class_names(module)) and not holds_layers


def own_name(place: Place) -> str:
    """Return the name of a parameter, or of its ParameterDict if it is in one, as in PEFT."""
    return place.path.rpartition(".")[2] if _is_in_container(place) else place.tensor


def _is_in_container(place: Place) -> bool:
    return isinstance(place.owner, nn.ParameterDict | nn.ParameterList)


def _is_vector(place: Place) -> bool:
    name = own_name(place)
    if len(place.shape) < 2 or place.is_magnitude or is_state_space(place):
        return True
    # A stack of experts also has a stack of biases.
    is_named = VECTOR_NAME.fullmatch(name) and not BIAS_TABLE_NAME.fullmatch(name)
    return bool(is_named) or is_norm(place.owner) or (_is_one_line(place) and not LORA_MATRIX.fullmatch(name))


@cache
def _is_named_norm(names: tuple[str, ...]) -> bool:
    return any(NORM_CLASS.fullmatch(name) for name in names)


def _is_one_line(place: Place) -> bool:
    """Return whether a parameter is a row or column that no layer multiplies as a matrix: class tokens, IA³'s gains."""
    is_matrix = isinstance(place.owner, nn.modules.conv._ConvNd) or (len(place.shape) == 2 and _is_layer(place))
    return math.prod(place.shape) == max(place.shape) and not is_matrix


def _is_table(place: Place) -> bool:
    name = own_name(place)
    if LORA_MATRIX.fullmatch(name):
        return False
    is_named = TABLE_NAME.fullmatch(name) or BIAS_TABLE_NAME.fullmatch(name)
    if isinstance(place.owner, nn.Embedding | nn.EmbeddingBag) or is_named:
        return True
    return place.tensor == "weight" and any(re.search("Embeddings?$", kind) for kind in class_names(place.owner))


def _is_kernel(place: Place) -> bool:
    if isinstance(place.owner, nn.modules.conv._ConvNd):
        return True
    axes = len(place.shape)
    if not _is_called_convolution(place) or axes < 3:
        return False
    # Three axes may be (out, in, length), or one matrix for each relation of a graph.
    return axes > 3 or _is_called_conv1d(place) or place.shape[-1] <= LONGEST_KERNEL


def _is_called_convolution(place: Place) -> bool:
    return place.tensor == "weight" and any("Conv" in name for name in class_names(place.owner))


def _is_called_conv1d(place: Place) -> bool:
    return any(re.search("Conv(Transpose)?1[dD]", name) for name in class_names(place.owner))


def _doubt_of_kernel(place: Place, role: Role) -> str:
    """Return why the role of a weight is a guess if its class has "Conv" in its name but is not one of torch's."""
    axes, kind = len(place.shape), type(place.owner).__name__
    if isinstance(place.owner, nn.modules.conv._ConvNd) or not _is_called_convolution(place):
        return ""
    is_depthwise = place.shape[1] == 1
    if axes == 3 and role in ("conv", "hidden") and not _is_called_conv1d(place) and not is_depthwise:
        what = "a kernel and its length" if role == "conv" else "a stack of matrices"
        return f"because {kind} is not one of torch's convolutions and three axes may be {what}; {REMEDY}"
    if axes == 2 and role == "hidden" and re.search(r"Conv\d[dD]", kind) and not _is_layer(place):
        return f"because {kind} has a weight of two axes, which may be kernels; {REMEDY}"
    return ""


def _is_layer(place: Place) -> bool:
    """Return whether a parameter belongs to a layer of torch's, or to one that is named like them."""
    kinds = type(place.owner).__mro__
    is_of_torch = any(kind.__module__.startswith("torch.nn.modules.") and kind is not nn.Module for kind in kinds)
    is_named = any(LAYER_CLASS.search(kind.__name__) for kind in kinds)
    return (is_of_torch and not _is_in_container(place)) or (
        is_named and MATRIX_NAME.fullmatch(place.tensor) is not None
    )
