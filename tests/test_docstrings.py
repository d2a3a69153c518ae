"""Every public name says in its docstring what it is, what it takes, what it returns and what it refuses."""

import inspect
import re
from typing import Any

import pytest

import steadydecay as sd
from steadydecay.public_names import HOMES, HOMES_ABOVE_THEORY

PUBLIC: dict[str, Any] = {
    **{name: getattr(sd, name) for name in HOMES},
    **{f"theory.{name}": getattr(sd.theory, name) for name in (*sd.theory.__all__, *HOMES_ABOVE_THEORY)},
    **{f"norms.{name}": getattr(sd.norms, name) for name in sd.norms.__all__},
}
# Tables and unions of types, whose docstring is that of `dict` or `Union`; comments and pages describe them.
WITHOUT = {"theory.DECAY_RULES", "theory.Lmo", "theory.Momentum", "norms.NORMS", "norms.NormSpec"}
DOCUMENTED = {name: thing for name, thing in PUBLIC.items() if name not in WITHOUT}
# Of the interface that every norm has: *args and **kwargs of a protocol, which nobody calls.
NOT_CALLED = {"norms.Norm"}
# Raise errors of their own for what a caller may get wrong, and so must say which.
REFUSING = sorted(name for name in DOCUMENTED if "raise " in inspect.getsource(DOCUMENTED[name]))


def documentation(thing: Any) -> str:
    return inspect.getdoc(thing) or ""


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_first_paragraph_is_whole(name: str) -> None:
    first = documentation(DOCUMENTED[name]).split("\n\n")[0]
    assert re.match(r"[^\s]", first) and first.rstrip().endswith((".", ":")), first


@pytest.mark.parametrize("name", sorted(DOCUMENTED.keys() - NOT_CALLED))
def test_every_parameter_is_explained(name: str) -> None:
    thing = DOCUMENTED[name]
    said = documentation(thing)
    parameters = inspect.signature(thing).parameters
    assert not [parameter for parameter in parameters if not re.search(rf"\b{parameter}\b", said)]


@pytest.mark.parametrize("name", REFUSING)
def test_what_is_refused_is_said(name: str) -> None:
    assert re.search(r"Raises:|\b[A-Z]\w+Error\b", documentation(DOCUMENTED[name]))


def test_there_is_something_that_refuses() -> None:
    assert len(REFUSING) >= 5 and len(DOCUMENTED) > 40
