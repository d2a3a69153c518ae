"""The command `steadydecay`: parse the arguments, run, and report an error that the user can fix in one message."""

import io
import signal
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import NoReturn


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line. On Ctrl-C, or an error that the user can fix, exit with status 2 and one message."""
    try:
        _require_extra()
        _run(arguments)
    except KeyboardInterrupt:
        # Pressing it a second time must not print a traceback from the exit itself.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _leave("stopped by Ctrl-C; run the same command again to resume from the last checkpoint")


def _run(arguments: Sequence[str] | None) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name that cannot be decoded, or a terminal without Greek letters, must not end the command.
        sys.stdout.reconfigure(errors="backslashreplace")
    # These imports take seconds, and Ctrl-C may come while they load.
    from steadydecay.commands.command_line import parsed, user_errors

    command = parsed(sys.argv[1:] if arguments is None else arguments)
    try:
        command.run()
    except user_errors() as error:
        _leave(str(error))


def _require_extra() -> None:
    """Exit and say which extra the command line needs, if the library was installed without it."""
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
