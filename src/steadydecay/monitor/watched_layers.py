"""The parameters of an optimizer by name."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor
from torch.optim import Optimizer

from steadydecay.groups.matrix_blocks import Block, blocks_of, matrix_shape

SIGN_NORM_ROLES = ("output", "embedding")


class Layer(NamedTuple):
    """One parameter.

    Attributes:
        position: in the order of the optimizer's parameters.
        name: of the group's `param_names`, else "group_<index>.<position>"; unique in the optimizer.
        group: index of its group.
        parameter: the weight.
        matrix_shape: (rows, columns) of all of it as one matrix.
        blocks: the matrices in it.
        has_sign_norm: whether it is an output layer or an embedding.
    """

    position: int
    name: str
    group: int
    parameter: Tensor
    matrix_shape: tuple[int, int]
    blocks: tuple[Block, ...]
    has_sign_norm: bool


def layers_of(optimizer: Optimizer) -> list[Layer]:
    """Every parameter of the optimizer's groups that has entries."""
    groups = optimizer.param_groups
    count = Counter(name for index, group in enumerate(groups) for name in _names(group, index))
    layers: list[Layer] = []
    for index, group in enumerate(groups):
        for position, (name, parameter) in enumerate(zip(_names(group, index), group["params"], strict=True)):
            unique = name if count[name] == 1 else f"group_{index}.{position}.{name}"
            layers += [_layer(len(layers), unique, index, group, parameter)] if parameter.numel() else []
    return layers


def group_name(group: Mapping[str, Any], index: int) -> str:
    """Under which groups are reported together: role, else name, else "group_<index>"."""
    return group.get("role") or group.get("name") or f"group_{index}"


def _names(group: Mapping[str, Any], index: int) -> Sequence[str]:
    names = group.get("param_names") or ()
    count = len(group["params"])
    return names if len(names) == count else [f"group_{index}.{position}" for position in range(count)]


def _layer(position: int, name: str, index: int, group: Mapping[str, Any], parameter: Tensor) -> Layer:
    shape = tuple(parameter.shape)
    if parameter.is_complex():
        return Layer(position, name, index, parameter, matrix_shape({}, (*shape, 2)), (), False)
    has_sign_norm = group.get("role") in SIGN_NORM_ROLES and len(shape) > 1
    blocks = tuple(blocks_of(group, shape))
    return Layer(position, name, index, parameter, matrix_shape(group, shape), blocks, has_sign_norm)
