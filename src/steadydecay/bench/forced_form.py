"""ScionC in a form of the polar factor that is named, not chosen."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from steadydecay.polar import express


@contextmanager
def forced_form(name: str, dtype: torch.dtype | None = None) -> Iterator[None]:
    """Every matrix takes the form `name` of `steadydecay.polar.forms.FORMS`.

    Its products are in `dtype`; by default in float32 if the name says so, else in what is chosen.
    """
    chosen_form, chosen_dtype = express.chosen_form, express.chosen_dtype
    express.chosen_form = lambda *_, **__: name
    if name.endswith("float32"):
        dtype = torch.float32
    if dtype is not None:
        express.chosen_dtype = lambda *_, **__: dtype
    try:
        yield
    finally:
        express.chosen_form, express.chosen_dtype = chosen_form, chosen_dtype
