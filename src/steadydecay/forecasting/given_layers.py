"""Layers that are given as text: "768x768", "3072x768:spectral", "50304x768:output", "768x768:12"."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import nn

from steadydecay.groups.intrinsic_roles import ROLES
from steadydecay.groups.param_groups import NORM_OF_ROLE
from steadydecay.norms import NORMS, fewest_dimensions, norm_name
from steadydecay.recipes.overrides import nearest

ROLE_OF_DIMENSIONS = {1: "vector", 2: "hidden", 3: "hidden", 4: "conv", 5: "conv"}
# More entries than any layer has today. torch cannot count more than 2⁶³.
MOST_ENTRIES = 2**48


class GivenLayers(NamedTuple):
    """Layers as a model on the meta device.

    Attributes:
        model: A module with one parameter for each text.
        overrides: The role, and the norm if one was given, by parameter name; for `param_groups`.
        counts: The number of layers that each parameter stands for.
    """

    model: nn.Module
    overrides: dict[str, dict[str, Any]]
    counts: dict[str, int]


def given_layers(texts: Iterable[str]) -> GivenLayers:
    """Parse texts with a shape (d_out x d_in) followed by role, norm and count in any order, separated by colons.

    By default, the role of matrices (and stacks of them) is "hidden", and that of other dimensions "vector" or "conv".

    Raises:
        ValueError: A shape is malformed, a role or norm is unknown, a count is below 1, or a text occurs twice.
    """
    model, overrides, counts = nn.Module(), {}, {}
    for text in texts:
        shape, options = _shape(text), [_option(part, text) for part in text.split(":")[1:]]
        settings = dict(option for option in options if option is not None)
        if len(settings) != len(options):
            raise ValueError(f"shape is {text!r}, which repeats an option; give at most one role, norm and count")
        name = text.replace(".", "_")
        if name in counts:
            raise ValueError(f"shape {text!r} is given twice; give it once with a count: {text}:2")
        counts[name] = settings.pop("count", 1)
        overrides[name] = {"role": ROLE_OF_DIMENSIONS[len(shape)]} | settings
        _require_dimensions(text, len(shape), overrides[name])
        model.register_parameter(name, nn.Parameter(torch.empty(shape, device="meta")))
    return GivenLayers(model, overrides, counts)


def _shape(text: str) -> tuple[int, ...]:
    sizes = text.partition(":")[0].lower().replace("×", "x").split("x")
    are_whole = all(size.isascii() and size.isdigit() and len(size) < 19 and int(size) > 0 for size in sizes)
    if not are_whole or len(sizes) not in ROLE_OF_DIMENSIONS:
        remedy = "1 to 5 whole numbers above 0, such as 3072x768, or 768 for a vector"
        raise ValueError(f"shape is {text!r}; it must be {remedy}")
    shape = tuple(map(int, sizes))
    if math.prod(shape) > MOST_ENTRIES:
        raise ValueError(f"shape is {text!r} with {math.prod(shape)} entries; it must have at most 2⁴⁸")
    return shape


def _option(part: str, text: str) -> tuple[str, Any]:
    if part.isascii() and part.isdigit() and 0 < int(part) <= 10**9:
        return "count", int(part)
    if part in ROLES:
        return "role", part
    if (norm := norm_name(part)) in NORMS:
        return "norm", norm
    raise ValueError(f"shape is {text!r}, but {part!r} is not a role, norm or count{nearest(part, [*ROLES, *NORMS])}")


def _require_dimensions(text: str, dimensions: int, settings: dict[str, Any]) -> None:
    norm = settings.get("norm", NORM_OF_ROLE[settings["role"]])
    fewest = 3 if norm == "spectral_conv" else max(1, fewest_dimensions(NORMS[norm]))
    if dimensions < fewest:
        raise ValueError(f"shape is {text!r} with {dimensions} dimensions; for {norm!r} it must have {fewest} or more")
