"""The command `steadydecay`: parse, run, and one message on what a person can put right."""

import io
import signal
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import NoReturn


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line; exit with 2 and one message on what a person can put right, Ctrl-C among it."""
    try:
        _require_extra()
        _run(arguments)
    except KeyboardInterrupt:
        # Who presses it once more must not get a traceback of the end.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _leave("stopped by Ctrl-C; a run resumes from its last checkpoint when the same command is given again")


def _run(arguments: Sequence[str] | None) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name from a disk, or a Greek letter on a terminal that has none, must not end the command.
        sys.stdout.reconfigure(errors="backslashreplace")
    # They take seconds, and Ctrl-C may come while they load.
    from steadydecay.commands.command_line import parsed, user_errors

    command = parsed(sys.argv[1:] if arguments is None else arguments)
    try:
        command.run()
    except user_errors() as error:
        _leave(str(error))


def _require_extra() -> None:
    """Say which extra the command line needs, where the library was installed without it."""
    missing = [name for name in ("tyro", "rich", "safetensors") if find_spec(name) is None]
    if missing:
        remedy = "install the extra of the command line: pip install 'steadydecay[recipes]'"
        sys.exit(f"steadydecay: {' and '.join(missing)} cannot be imported; {remedy}")


def _leave(message: str) -> NoReturn:
    from rich.console import Console

    console = Console(stderr=True, style="bold red")
    console.print(f"steadydecay: {message}", markup=False, highlight=False, soft_wrap=True)
    sys.exit(2)


# For torchrun: python -m torch.distributed.run ... -m steadydecay.cli train gpt
if __name__ == "__main__":
    main()
