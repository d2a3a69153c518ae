"""Every option of every subcommand says in a whole sentence what it is for."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
from tyro._docstrings import get_field_docstring

from steadydecay.commands.bench import Bench
from steadydecay.commands.compare import Compare
from steadydecay.commands.explore import Explore
from steadydecay.commands.export import Export
from steadydecay.commands.forecast import Forecast
from steadydecay.commands.inspect import Inspect
from steadydecay.commands.prepare import Prepare
from steadydecay.commands.report import Report
from steadydecay.commands.reproduce import Reproduce
from steadydecay.commands.sweep import Sweep
from steadydecay.commands.train import Train

COMMANDS = (Bench, Compare, Explore, Export, Forecast, Inspect, Prepare, Report, Reproduce, Sweep, Train)
OPTIONS = [(command, field.name) for command in COMMANDS for field in fields(command) if field.init]
# How a fragment begins that leaves out what it is about.
FRAGMENT = re.compile(r"(Of|By default|At|On) |For --")


def help_of(command: type[Any], name: str) -> str:
    hint = get_type_hints(command, include_extras=True)[name]
    marks = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    said = next((mark.help for mark in marks if getattr(mark, "help", None)), None)
    return said or get_field_docstring(command, name, ()) or ""


@pytest.mark.parametrize(("command", "name"), OPTIONS, ids=[f"{command.__name__}-{name}" for command, name in OPTIONS])
def test_every_option_has_a_sentence(command: type[Any], name: str) -> None:
    said = " ".join(help_of(command, name).split())
    assert re.match(r"[A-Z]", said) and said.endswith("."), said
    assert len(said.split()) >= 2 and not FRAGMENT.match(said), said


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_what_it_does(command: type[Any]) -> None:
    assert re.match(r"[A-Z].*[.]$", (command.__doc__ or "").strip().splitlines()[0])


def test_no_command_is_left_out() -> None:
    folder = Path(__file__).parents[2] / "src/steadydecay/commands"
    files = [path for path in folder.glob("*.py") if path.stem != "command_line"]
    running = [path.stem for path in files if "    def run(self) -> None:" in path.read_text("utf-8")]
    assert sorted(running) == sorted(command.__name__.lower() for command in COMMANDS)
