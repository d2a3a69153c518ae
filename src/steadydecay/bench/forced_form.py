"""ScionC in a form of the polar factor that is named, not chosen."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from steadydecay.polar import express


@contextmanager
def forced_form(name: str) -> Iterator[None]:
    """Every matrix takes the form `name` of `steadydecay.polar.forms.FORMS`, in float32 if its name says so."""
    chosen_form, chosen_dtype = express.chosen_form, express.chosen_dtype
    express.chosen_form = lambda *_, **__: name
    if name.endswith("float32"):
        express.chosen_dtype = lambda *_, **__: torch.float32
    try:
        yield
    finally:
        express.chosen_form, express.chosen_dtype = chosen_form, chosen_dtype
