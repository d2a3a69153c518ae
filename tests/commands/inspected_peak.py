"""The memory that it takes to inspect a file.

Not a test: test_inspect_command.py runs it in a process of its own.
"""

from pathlib import Path

from steadydecay.cli import main


def print_own_peak(path: str) -> None:
    """The largest resident memory of this process, in MiB."""
    main(["inspect", path, "--top", "1", "--no-spectral"])
    memory = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    print(int(memory["VmHWM"].split()[0]) // 1024)
