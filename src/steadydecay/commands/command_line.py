"""All subcommands as one command line, and the errors that users can correct themselves."""

import ast
import sys
from collections.abc import Sequence
from dataclasses import make_dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, Any, Protocol, Union

import tyro

# Each is a class of that name in a module of its own, which has the same name in lower case.
NAMES = (
    *("Train", "Compare", "Prepare", "Sweep", "Report", "Reproduce"),
    *("Explore", "Forecast", "Bench", "Inspect", "Export"),
)
HELP = ("-h", "--help")
HOMES_OF_ERRORS = {
    "steadydecay.recipes.checkpoint": "CheckpointError",
    "steadydecay.recipes.divergence": "NonFiniteError",
    "steadydecay.run_log.folder_lock": "FolderInUseError",
    "steadydecay.sweeps.run_sweep": "FailedTrialsError",
}


class Command(Protocol):
    """A parsed subcommand."""

    def run(self) -> None: ...


def parsed(arguments: Sequence[str]) -> Command:
    """Parse a command line into its subcommand, or print its help or an error and end the program."""
    subcommands: Any = Union[tuple(_subcommand(name, _is_needed(name, arguments)) for name in NAMES)]  # noqa: UP007
    return tyro.cli(subcommands, args=arguments, prog="steadydecay", description="Steady weight norms in training.")


def user_errors() -> tuple[type[Exception], ...]:
    """Return the errors whose message says enough. All others are our fault and show a traceback."""
    # A class that was not imported was not raised either, and importing it now could fail, as on a broken disk.
    imported = [getattr(sys.modules[home], name) for home, name in HOMES_OF_ERRORS.items() if home in sys.modules]
    return (ValueError, OSError, *imported)


def _is_needed(name: str, arguments: Sequence[str]) -> bool:
    """Return whether its module must be imported, which may take seconds; other commands and the list need only
    help."""
    first = arguments[0] if arguments else HELP[0]
    return first == name.lower() if first in (*HELP, *map(str.lower, NAMES)) else True


def _subcommand(name: str, is_needed: bool) -> Any:
    """Return its class, or a class with the same description and no options."""
    module = f"{__package__}.{name.lower()}"
    kind = getattr(import_module(module), name) if is_needed else make_dataclass(name, ())
    if not is_needed:
        kind.__doc__ = _docstring(module, name)
    return Annotated[kind, tyro.conf.subcommand(name.lower(), prefix_name=False)]


def _docstring(module: str, name: str) -> str | None:
    """Return the docstring of a class whose module is not imported."""
    spec = find_spec(module)
    assert spec is not None and spec.loader is not None
    tree = ast.parse(spec.loader.get_source(module))  # pyright: ignore[reportAttributeAccessIssue]
    (found,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    return ast.get_docstring(found)
