"""Find where each parameter of a model stands, whatever wraps the model or the layer."""

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, final

from torch import Tensor, nn

# What torch.compile, FSDP and activation checkpointing insert into names, and what PEFT inserts.
BY_WRAPPERS = "_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module"
BY_ADAPTERS = r"base_layer|original_module|modules_to_save\.[^.]+"
# The names that DataParallel, DDP and torch.compile give to what they wrap, which may also be a single layer.
OF_WRAPPERS = {"module", "_orig_mod"}
INSERTED = re.compile(rf"(?:^|(?<=\.))(?:{BY_WRAPPERS}|{BY_ADAPTERS})\.")
ORIGINAL_OF_PARAMETRIZATION = re.compile(r"(?<=\.)parametrizations\.([^.]+)\.original\d*$")
# Low-rank and other additions of PEFT to a layer, which are not the layer. A module called "adapter" is the user's own.
ADAPTER_PART = re.compile(r"(lora|ia3|hada|lokr|vera|oft|boft|randlora|token_adapter)(_.*)?|adapter_(down|up)(_.*)?")
# torch.nn.utils before parametrizations, and pruning.
OLD_SUFFIXES = ("_orig", "_v")


@final
class Place(NamedTuple):
    """Where a parameter stands in the bare model.

    Attributes:
        name: The name of the parameter, as `named_parameters` of the wrapped model gives it.
        path: The path of its module in the bare model, such as "classifier.out_proj".
        tensor: The name of the parameter in its module, such as "weight".
        owner: The module that it belongs to. For a parametrized weight it is the module that computes it.
        parameter: The parameter itself.
        shape: The shape of the whole parameter, if a wrapper keeps a flat piece of it.
        is_magnitude: Whether it holds one size for each vector of a weight, as weight normalisation does.
    """

    name: str
    path: str
    tensor: str
    owner: nn.Module
    parameter: Tensor
    shape: tuple[int, ...]
    is_magnitude: bool

    @property
    def plain_name(self) -> str:
        """The name of the parameter in the bare model, such as "classifier.out_proj.weight"."""
        return f"{self.path}.{self.tensor}" if self.path else self.tensor

    @property
    def names(self) -> tuple[str, str]:
        """Return the names that patterns may match: in the model as it is, and in the bare model."""
        return self.name, self.plain_name

    @property
    def parts(self) -> list[str]:
        """Return the names on the path to the parameter, the tensor's last."""
        return self.plain_name.split(".")


def plain_name(name: str) -> str:
    """Return a parameter's name without what wrappers of layers insert.

    >>> plain_name("blocks.0._orig_mod.qkv.parametrizations.weight.original1")
    'blocks.0.qkv.weight'
    """
    return INSERTED.sub("", ORIGINAL_OF_PARAMETRIZATION.sub(r"\1", name))


def unwrapped(model: nn.Module) -> tuple[str, list[nn.Module]]:
    """Return the prefix that wrappers add to all names ("module."), and the model with all that it wraps, outermost
    first.

    A wrapper (DataParallel, DDP, torch.compile, PEFT, a LightningModule) has no parameter of its own and a single child
    with parameters, which has children in turn unless its name tells that it is wrapped.
    """
    prefix, chain = "", [model]
    while not any(True for _ in chain[-1].parameters(recurse=False)):
        children = (named for named in chain[-1].named_children() if _has_parameters(named[1]))
        with_parameters = list(itertools.islice(children, 2))
        if len(with_parameters) != 1:
            break
        name, inner = with_parameters[0]
        is_leaf = not any(_has_parameters(child) for child in inner.children())
        if name not in OF_WRAPPERS and (is_leaf or isinstance(inner, nn.ModuleList | nn.ModuleDict)):
            break
        prefix, chain = f"{prefix}{name}.", [*chain, inner]
    return prefix, chain


def places_of(model: nn.Module) -> list[Place]:
    """Return the place of every parameter, each under all of its names, in the model's order."""
    prefix, _ = unwrapped(model)
    modules = dict(model.named_modules(remove_duplicate=False))
    flattened = dict(_flattened_by_fsdp(model))
    return [
        _place(name, parameter, flattened.get(id(parameter), _shape(parameter)), prefix, modules)
        for name, parameter in model.named_parameters(remove_duplicate=False)
    ]


def plain_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield every module with its path in the bare model, in the model's order."""
    prefix, _ = unwrapped(model)
    for path, module in model.named_modules():
        yield INSERTED.sub("", f"{path}.".removeprefix(prefix)).removesuffix("."), module


def is_adapter(place: Place) -> bool:
    """Return whether a parameter is an addition to a layer, such as LoRA's A and B."""
    return any(ADAPTER_PART.fullmatch(part) for part in place.parts)


def owners_of(model: nn.Module) -> dict[str, nn.Module]:
    """Return the module that each parameter belongs to, by each of the parameter's names."""
    return {place.name: place.owner for place in places_of(model)}


def class_names(module: nn.Module) -> tuple[str, ...]:
    """Return the names of a module's class and its bases, because parametrizations and FSDP2 derive a class from it."""
    return tuple(kind.__name__ for kind in type(module).__mro__)


def _has_parameters(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None


def _shape(parameter: Tensor) -> tuple[int, ...]:
    # DeepSpeed's stage 3 leaves an empty parameter in the model.
    return tuple(getattr(parameter, "ds_shape", parameter.shape))


def _flattened_by_fsdp(model: nn.Module) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield ids and shapes of parameters of which FSDP1 with `use_orig_params` keeps flat pieces."""
    for module in model.modules():
        flat: Any = getattr(module, "_flat_param", None)
        for info, shape in zip(getattr(flat, "_param_infos", ()), getattr(flat, "_shapes", ()), strict=True):
            parameter = info.module._parameters.get(info.param_name)
            if parameter is not None:
                yield id(parameter), tuple(shape)


def _place(name: str, parameter: Tensor, shape: tuple[int, ...], prefix: str, modules: dict[str, nn.Module]) -> Place:
    home, _, tensor = name.rpartition(".")
    owner, is_magnitude = modules[home], False
    if isinstance(owner, nn.utils.parametrize.ParametrizationList) and tensor.startswith("original"):
        is_of_torch = "_WeightNorm" in class_names(owner[0]) and tensor == "original0"
        is_magnitude = is_of_torch or _is_magnitude(shape, [_shape(one) for one in owner.parameters(recurse=False)])
        of_owner, _, tensor = f".{home}".rpartition(".parametrizations.")
        home = of_owner.removeprefix(".")
        owner = modules[home]
    elif f"{tensor[:-2]}_v" in owner._parameters and tensor.endswith("_g"):
        is_magnitude, tensor = True, tensor[:-2]
    elif tensor.endswith(OLD_SUFFIXES):
        tensor = _before_old_suffix(tensor, owner)
    path = INSERTED.sub("", f"{home}.".removeprefix(prefix)).removesuffix(".")
    return Place(name, path, tensor, owner, parameter, shape, is_magnitude)


def _is_magnitude(shape: Sequence[int], originals: Sequence[Sequence[int]]) -> bool:
    """Return whether a tensor holds a size for each of the vectors of another tensor of the same weight.

    It then has the axes of the other tensor, with length one where it says the same for all.
    """
    whole = max(originals, key=math.prod)
    spreads = len(shape) == len(whole) and all(one in (1, size) for one, size in zip(shape, whole, strict=True))
    return spreads and math.prod(shape) < math.prod(whole)


def _before_old_suffix(tensor: str, owner: Any) -> str:
    """Return "weight" for `weight_v` beside `weight_g`, and for `weight_orig` of a module that computes `weight`."""
    stem, _, suffix = tensor.rpartition("_")
    is_of_weight_norm = suffix == "v" and f"{stem}_g" in owner._parameters
    return stem if is_of_weight_norm or suffix == "orig" else tensor
