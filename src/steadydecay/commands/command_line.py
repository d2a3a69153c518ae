"""All subcommands as one command line, and the errors that a person can put right."""

import ast
import sys
from collections.abc import Sequence
from dataclasses import make_dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, Any, Protocol, Union

import tyro

# Each is a class of that name in a module of its own, named in lower case.
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
    """The subcommand that a command line calls, with its options; or its help or its error and the program's end."""
    subcommands: Any = Union[tuple(_subcommand(name, _is_needed(name, arguments)) for name in NAMES)]  # noqa: UP007
    return tyro.cli(subcommands, args=arguments, prog="steadydecay", description="Steady weight norms in training.")


def user_errors() -> tuple[type[Exception], ...]:
    """What one message says enough of. Everything else is our fault and shows its traceback."""
    # What is not imported has not been raised, and to import it now could fail: the disk itself may be the trouble.
    imported = [getattr(sys.modules[home], name) for home, name in HOMES_OF_ERRORS.items() if home in sys.modules]
    return (ValueError, OSError, *imported)


def _is_needed(name: str, arguments: Sequence[str]) -> bool:
    """Whether its module must be imported, which may take seconds: not beside another, nor for the list of all."""
    first = arguments[0] if arguments else HELP[0]
    return first == name.lower() if first in (*HELP, *map(str.lower, NAMES)) else True


def _subcommand(name: str, is_needed: bool) -> Any:
    """Its class, or one with the same description and no options."""
    module = f"{__package__}.{name.lower()}"
    kind = getattr(import_module(module), name) if is_needed else make_dataclass(name, ())
    if not is_needed:
        kind.__doc__ = _docstring(module, name)
    return Annotated[kind, tyro.conf.subcommand(name.lower(), prefix_name=False)]


def _docstring(module: str, name: str) -> str | None:
    """Of a class whose module is not imported."""
    spec = find_spec(module)
    assert spec is not None and spec.loader is not None
    tree = ast.parse(spec.loader.get_source(module))  # pyright: ignore[reportAttributeAccessIssue]
    (found,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    return ast.get_docstring(found)
