"""Guess roles and matrices of weights of which only names and shapes are known.

A model without values is built from the names, so that the rules for real models (`roles`, `fused`) apply to it.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple, final

import torch
from torch import nn

from steadydecay.groups.fused import spectral_spec
from steadydecay.groups.intrinsic_roles import Role
from steadydecay.groups.output_names import OUTPUT_MODULE_NAMES
from steadydecay.groups.places import owners_of
from steadydecay.groups.roles import roles_of
from steadydecay.inspection.copies import originals
from steadydecay.inspection.plain_names import plain_names
from steadydecay.inspection.stored_weight import StoredWeight
from steadydecay.norms import NormSpec

# Modules that look up tokens or positions, in addition to those with "emb" in their name.
EMBEDDING_NAMES = {"wte", "wpe", "shared", "relative_attention_bias"}
OUTPUT_NAMES = OUTPUT_MODULE_NAMES | {"embed_out"}
CONVOLUTIONS: dict[int, type[nn.Module]] = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}
# GPT-2's Conv1D stores (d_in, d_out), which a c_attn of shape d × 3d reveals.
CONV1D_NAMES = {"c_attn", "c_proj", "c_fc", "q_attn"}
# Deeper names would exhaust the stack in nn.Module's own recursion.
MOST_PARTS = 100


@final
class Guess(NamedTuple):
    """What names and shapes reveal about a weight.

    Attributes:
        role: The role, as `steadydecay.groups.roles.roles_of` finds it in a model.
        matrices: The Spectral or SpectralConv norm that separates its matrices, or None for vectors.
    """

    role: Role
    matrices: NormSpec | None


def guesses(weights: Iterable[StoredWeight], in_model_order: bool) -> dict[str, Guess]:
    """Return a guess for each weight, by its name in the file. Copies are guessed like their originals.

    Args:
        weights: The weights of the whole model.
        in_model_order: Whether their order is that of the model's layers.

    Raises:
        ValueError: A name has more than `MOST_PARTS` parts.
    """
    every = list(weights)
    original_of = originals(every)
    weights = [one for one in every if one.name not in original_of]
    names = plain_names([name for one in weights for name in (one.name, *one.tied)])
    skeleton = _skeleton(weights, names, in_model_order)
    roles, owners = roles_of(skeleton), owners_of(skeleton)
    of_originals = {
        one.name: _guess([names[name] for name in (one.name, *one.tied)], one.shape, roles, owners) for one in weights
    }
    return {one.name: of_originals[original_of.get(one.name, one.name)] for one in every}


def _guess(names: list[str], shape: tuple[int, ...], roles: dict[str, Role], owners: dict[str, nn.Module]) -> Guess:
    found: list[Role] = [roles[name] for name in names if name in roles]
    # A name with empty parts does not belong to a module.
    if not found:
        return Guess("hidden", "spectral") if len(shape) > 1 else Guess("vector", None)
    role, owner = found[0], owners[names[0]]
    if role == "vector":
        return Guess(role, None)
    # The last convolution of a network without Linear layers is its output.
    is_kernel = isinstance(owner, tuple(CONVOLUTIONS.values()))
    return Guess(role, "spectral_conv" if is_kernel else spectral_spec(names[0], _placeholder(shape), owner))


def _skeleton(weights: list[StoredWeight], names: dict[str, str], in_model_order: bool) -> nn.Module:
    has_conv1d = any(_is_conv1d_attention(names[one.name], one.shape) for one in weights)
    parameters = [(names[name], parameter) for one in weights for name, parameter in _named_placeholders(one)]
    skeleton: Any = nn.Module()
    # Weights decide the kind of the module that owns them, and a bias beside a weight belongs to the same module.
    for name, parameter in sorted(parameters, key=lambda named: not named[0].endswith("weight")):
        path, _, leaf = name.rpartition(".")
        owner = _module_at(skeleton, path.split(".") if path else [], _kind(_last(path), leaf, parameter.ndim))
        owner._parameters[leaf] = parameter
        if has_conv1d and _last(path) in CONV1D_NAMES:
            owner.is_transposed = True
    linears = [path for path, module in skeleton.named_modules() if isinstance(module, nn.Linear)]
    if not in_model_order and not any(_last(path) in OUTPUT_NAMES for path in linears):
        # Without the model's order, any Linear may be the last. This is transformers' way to say "no output layer".
        skeleton.get_output_embeddings = lambda: None
    return skeleton


def _module_at(root: nn.Module, path: list[str], kind: type[nn.Module]) -> Any:
    """Return the module at a path, created if missing in the dicts, because nn.Module refuses some names."""
    if len(path) > MOST_PARTS:
        raise ValueError(
            f"a weight's name has {len(path)} parts; it must have at most {MOST_PARTS}, so this is not a model's file"
        )
    module = root
    for depth, part in enumerate(path):
        rest = path[depth + 1 :]
        # Numbered modules that contain modules are layers, and numbered ones that contain weights are a Sequential.
        is_layer_list = len(rest) > 1 and rest[0].isdecimal()
        of_path = kind if not rest else nn.ModuleList if is_layer_list else nn.Module
        children: dict[str, Any] = module._modules
        module = children.setdefault(part, _without_parameters(of_path))
    return module


def _kind(owner: str, leaf: str, ndim: int) -> type[nn.Module]:
    if leaf != "weight" or ndim < 2:
        return nn.Module
    if ndim in (4, 5) or (ndim == 3 and "conv" in owner):
        return CONVOLUTIONS[ndim]
    is_lookup = owner in EMBEDDING_NAMES or "emb" in owner.lower()
    return nn.Embedding if is_lookup and owner not in OUTPUT_NAMES else nn.Linear


def _without_parameters(kind: type[nn.Module]) -> nn.Module:
    module = kind.__new__(kind)
    nn.Module.__init__(module)
    return module


def _is_conv1d_attention(name: str, shape: tuple[int, ...]) -> bool:
    return name.endswith("c_attn.weight") and len(shape) == 2 and shape[1] in (2 * shape[0], 3 * shape[0])


def _named_placeholders(weight: StoredWeight) -> list[tuple[str, nn.Parameter]]:
    """Return one parameter under each of the weight's names."""
    parameter = _placeholder(weight.shape)
    return [(name, parameter) for name in (weight.name, *weight.tied)]


def _placeholder(shape: tuple[int, ...]) -> nn.Parameter:
    return nn.Parameter(torch.empty(shape, device="meta"))


def _last(path: str) -> str:
    return path.rpartition(".")[2]
