"""A command imports its own module alone, and the list of commands imports none."""

import subprocess
import sys

import pytest

# Prints what a command line has imported before it is run or its help ends it.
IMPORTED = """
import contextlib, io, sys
from steadydecay.commands.command_line import parsed
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    parsed(sys.argv[1:])
print(*sys.modules)
"""


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_imports_no_command_and_no_torch(option: str) -> None:
    imported = imported_by([option])
    assert "steadydecay.commands.command_line" in imported
    assert {name for name in imported if name.startswith("steadydecay.commands.")} == {
        "steadydecay.commands.command_line"
    }
    assert "torch" not in imported


def test_a_command_imports_no_other() -> None:
    imported = imported_by(["train", "gpt"])
    assert "steadydecay.commands.train" in imported
    assert imported.isdisjoint({"steadydecay.commands.bench", "steadydecay.commands.report", "matplotlib"})


def imported_by(arguments: list[str]) -> set[str]:
    done = subprocess.run([sys.executable, "-c", IMPORTED, *arguments], capture_output=True, text=True, check=True)
    return set(done.stdout.split())
