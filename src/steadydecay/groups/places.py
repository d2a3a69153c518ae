"""Where each parameter of a model stands, whatever wraps the model or the layer."""

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, final

from torch import Tensor, nn

# What torch.compile, FSDP and activation checkpointing insert into names; and what PEFT does.
BY_WRAPPERS = "_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module"
BY_ADAPTERS = r"base_layer|original_module|modules_to_save\.[^.]+"
# What DataParallel, DDP and torch.compile call what they wrap, which may also be a single layer.
OF_WRAPPERS = {"module", "_orig_mod"}
INSERTED = re.compile(rf"(?:^|(?<=\.))(?:{BY_WRAPPERS}|{BY_ADAPTERS})\.")
ORIGINAL_OF_PARAMETRIZATION = re.compile(r"(?<=\.)parametrizations\.([^.]+)\.original\d*$")
# Low-rank and other additions of PEFT to a layer, which are not the layer. A module called "adapter" is a user's own.
ADAPTER_PART = re.compile(r"(lora|ia3|hada|lokr|vera|oft|boft|randlora|token_adapter)(_.*)?|adapter_(down|up)(_.*)?")
# torch.nn.utils before parametrizations, and pruning.
OLD_SUFFIXES = ("_orig", "_v")


@final
class Place(NamedTuple):
    """Where a parameter stands in the bare model.

    Attributes:
        name: of the parameter, as `named_parameters` of the wrapped model gives it.
        path: of its module in the bare model: "classifier.out_proj".
        tensor: what the module calls it: "weight".
        owner: the module it belongs to, which holds what computes it where the parameter is parametrized.
        parameter: itself.
        shape: of the whole parameter, where a wrapper keeps a flat piece of it.
        is_magnitude: it holds one size for each vector of a weight, as weight normalisation keeps them apart.
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
        """The parameter's name in the bare model: "classifier.out_proj.weight"."""
        return f"{self.path}.{self.tensor}" if self.path else self.tensor

    @property
    def names(self) -> tuple[str, str]:
        """The names that patterns may match: in the model as it is, and in the bare model."""
        return self.name, self.plain_name

    @property
    def parts(self) -> list[str]:
        """The names on the way to it, the tensor's last."""
        return self.plain_name.split(".")


def plain_name(name: str) -> str:
    """A parameter's name without what wrappers of layers insert.

    >>> plain_name("blocks.0._orig_mod.qkv.parametrizations.weight.original1")
    'blocks.0.qkv.weight'
    """
    return INSERTED.sub("", ORIGINAL_OF_PARAMETRIZATION.sub(r"\1", name))


def unwrapped(model: nn.Module) -> tuple[str, list[nn.Module]]:
    """The prefix that wrappers give all names ("module."), and the model with all that it wraps, outermost first.

    A wrapper (DataParallel, DDP, torch.compile, PEFT, a LightningModule) has no parameter of its own and a single child
    with parameters, which has children in turn unless its name tells.
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
    """The place of every parameter, each under all of its names, in the model's order."""
    prefix, _ = unwrapped(model)
    modules = dict(model.named_modules(remove_duplicate=False))
    flattened = dict(_flattened_by_fsdp(model))
    return [
        _place(name, parameter, flattened.get(id(parameter), _shape(parameter)), prefix, modules)
        for name, parameter in model.named_parameters(remove_duplicate=False)
    ]


def plain_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every module by its path in the bare model, in the model's order."""
    prefix, _ = unwrapped(model)
    for path, module in model.named_modules():
        yield INSERTED.sub("", f"{path}.".removeprefix(prefix)).removesuffix("."), module


def is_adapter(place: Place) -> bool:
    """Whether a parameter is an addition to a layer, such as LoRA's A and B."""
    return any(ADAPTER_PART.fullmatch(part) for part in place.parts)


def owners_of(model: nn.Module) -> dict[str, nn.Module]:
    """The module that each parameter belongs to, by each of the parameter's names."""
    return {place.name: place.owner for place in places_of(model)}


def class_names(module: nn.Module) -> tuple[str, ...]:
    """Names of a module's class and its bases, since parametrizations and FSDP2 put a class in front."""
    return tuple(kind.__name__ for kind in type(module).__mro__)


def _has_parameters(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None


def _shape(parameter: Tensor) -> tuple[int, ...]:
    # DeepSpeed's stage 3 leaves an empty parameter behind.
    return tuple(getattr(parameter, "ds_shape", parameter.shape))


def _flattened_by_fsdp(model: nn.Module) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Shapes of parameters, by their ids, of which the first FSDP with `use_orig_params` keeps flat pieces."""
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
    """Whether one of the tensors that make up a weight holds a size for each of the vectors of another.

    It then has the axes of the other, of length one where it says the same for all.
    """
    whole = max(originals, key=math.prod)
    spreads = len(shape) == len(whole) and all(one in (1, size) for one, size in zip(shape, whole, strict=True))
    return spreads and math.prod(shape) < math.prod(whole)


def _before_old_suffix(tensor: str, owner: Any) -> str:
    """`weight_v` beside `weight_g` is the weight; so is `weight_orig` of a module that computes its `weight`."""
    stem, _, suffix = tensor.rpartition("_")
    is_of_weight_norm = suffix == "v" and f"{stem}_g" in owner._parameters
    return stem if is_of_weight_norm or suffix == "orig" else tensor
