"""Find the role of each parameter of a model from the modules that hold it."""

import difflib
import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, final

from torch import nn

from steadydecay.groups.intrinsic_roles import Role, doubt_of, intrinsic_role
from steadydecay.groups.output_layer import FoundOutput, found_output
from steadydecay.groups.places import Place, is_adapter, places_of
from steadydecay.groups.routers import routers_of

Output = None | Literal[False] | str | Sequence[str] | nn.Module


@final
class FoundRole(NamedTuple):
    """The role of a parameter, and the reason if it is a guess ("" if it is not)."""

    role: Role
    doubt: str = ""


def main_role(roles: Sequence[str]) -> str:
    """Return the role whose norms are shown: "hidden", or else the first; "hidden" if there are none."""
    return "hidden" if "hidden" in roles or not roles else roles[0]


def roles_of(model: nn.Module, output: Output = None) -> dict[str, Role]:
    """Return the role of each parameter by its first name; `output` is as in `param_groups`.

    Raises:
        ValueError: An output pattern matches no parameter, or an output module has none of the model's parameters.
    """
    return {name: found.role for name, found in found_roles(model, output).items()}


def found_roles(model: nn.Module, output: Output = None) -> dict[str, FoundRole]:
    """Return what `roles_of` returns, with the reasons for guesses."""
    places = places_of(model)
    routers = routers_of(model, places)
    intrinsic: dict[str, Role] = {place.name: intrinsic_role(place, place.name in routers) for place in places}
    of_output = _output(model, places, intrinsic, output)
    chosen = {id(parameter) for parameter in of_output.parameters}
    found = {}
    first_names = {name for name, _ in model.named_parameters()}
    for place in places:
        if place.name in first_names:
            is_output = id(place.parameter) in chosen and intrinsic[place.name] != "vector" and not is_adapter(place)
            role: Role = "output" if is_output else intrinsic[place.name]
            of_router = routers[place.name] if role == "router" else ""
            doubts = of_output.doubts.get(id(place.parameter)), of_router, doubt_of(place, role)
            found[place.name] = FoundRole(role, next(filter(None, doubts), ""))
    return found


def require_match(pattern: str, names: Iterable[str], argument: str) -> list[str]:
    """Return names that match, or lie in a module that matches; raise ValueError with the nearest names if none do."""
    names = list(names)
    matches = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
    if argument == "output":
        matches += [name for name in names if fnmatch.fnmatchcase(name, f"{pattern}.*")]
    if not matches:
        nearest = difflib.get_close_matches(pattern, names, n=3, cutoff=0.3) or names[:3]
        raise ValueError(
            f"{argument} has pattern {pattern!r}, which matches no parameter; it must match one, and the nearest names "
            f"are {nearest}"
        )
    return matches


def _output(model: nn.Module, places: Sequence[Place], roles: Mapping[str, Role], output: Output) -> FoundOutput:
    if output is None:
        return found_output(model, places, roles)
    if output is False:
        return FoundOutput()
    if isinstance(output, nn.Module):
        own, chosen = {id(place.parameter) for place in places}, list(output.parameters())
        if chosen and not any(id(parameter) in own for parameter in chosen):
            raise ValueError(
                f"output is a {type(output).__name__} that has no parameter of the model; pass a module of the model"
            )
        return FoundOutput(chosen)
    by_name = {name: place.parameter for place in places for name in (place.plain_name, place.name)}
    patterns = [output] if isinstance(output, str) else output
    return FoundOutput([by_name[name] for pattern in patterns for name in require_match(pattern, by_name, "output")])
