"""Run ScionC in a chosen form of the polar factor, or with a chosen number of lanes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from steadydecay.optim.batches import lanes
from steadydecay.polar import cost, express


@contextmanager
def forced_form(name: str, dtype: torch.dtype | None = None) -> Iterator[None]:
    """Let every matrix use the form `name` of `steadydecay.polar.forms.FORMS`.

    Its products are in `dtype`. The default is float32 if the name says so, and otherwise the usual choice.
    """
    modules: tuple[Any, ...] = (express, cost)
    chosen = [(module, module.chosen_form, module.chosen_dtype) for module in modules]
    if name.endswith("float32"):
        dtype = torch.float32
    for module, _, chosen_dtype in chosen:
        module.chosen_form = lambda *_, **__: name
        module.chosen_dtype = chosen_dtype if dtype is None else lambda *_, **__: dtype
    try:
        yield
    finally:
        for module, chosen_form, chosen_dtype in chosen:
            module.chosen_form, module.chosen_dtype = chosen_form, chosen_dtype


@contextmanager
def one_lane() -> Iterator[None]:
    """Let torch's threads share each product."""
    most = lanes.MOST_LANES
    lanes.MOST_LANES = 1
    try:
        yield
    finally:
        lanes.MOST_LANES = most
