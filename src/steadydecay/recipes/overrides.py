"""Parse `name=value` texts that replace recipe fields, suggest the nearest right name, and compare two recipes."""

import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints


def parsed_overrides(recipe_type: type, texts: Iterable[str]) -> dict[str, Any]:
    """Parse texts such as "lr=0.03" into fields of a dataclass with values of the right types.

    Raises:
        ValueError: A text has no "=", names no field of the recipe (the nearest one is suggested), or has a value of
            the
            wrong type.
    """
    types_of = get_type_hints(recipe_type)
    hints = {field.name: types_of[field.name] for field in fields(recipe_type)}
    pairs = [_split(text) for text in texts]
    for name, _ in pairs:
        if name not in hints:
            raise ValueError(f"override names {name!r}, which is not a field{nearest(name, hints)}")
    return {name: _typed(name, value, hints[name]) for name, value in pairs}


def nearest(name: str, names: Iterable[str]) -> str:
    """Return a hint for the end of an error message: the nearest right name, or else all of them."""
    names = list(names)
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; it must be one of {', '.join(names)}"


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Describe the fields in which two configurations differ, such as "lr: 0.04, now 0.03"."""
    names = dict.fromkeys([*old, *new])
    return [f"{name}: {old.get(name)!r}, now {new.get(name)!r}" for name in names if old.get(name) != new.get(name)]


def _split(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"override is {text!r}; it must have the form name=value, such as lr=0.03")
    return name.strip(), value.strip()


def _typed(name: str, value: str, hint: Any) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        if value.lower() == "none":
            return None
        hint = next(option for option in get_args(hint) if option is not type(None))
    if get_origin(hint) is typing.Literal:
        return _one_of(name, value, get_args(hint))
    if hint is bool:
        return _one_of(name, value.lower(), ("true", "false")) == "true"
    try:
        return {int: int, float: float, str: str, Path: Path}[hint](value)
    except ValueError:
        raise ValueError(f"override {name} is {value!r}; it must be of type {hint.__name__}") from None


def _one_of(name: str, value: str, legal: tuple[str, ...]) -> str:
    if value not in legal:
        raise ValueError(f"override {name} is {value!r}{nearest(value, legal)}")
    return value
