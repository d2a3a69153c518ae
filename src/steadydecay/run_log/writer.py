"""Write a run's log, one record per line and the configuration first; a resumed run continues at its checkpoint."""

import os
from contextlib import nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO, final

from steadydecay.run_log.atomic_write import naming, replace_file
from steadydecay.run_log.reader import judged_lines
from steadydecay.run_log.record import json_line, step_of


@final
class RunLog:
    """An open log to which one process writes. Create it with `RunLog.open`."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    @classmethod
    def open(cls, path: str | Path, *, configuration: dict[str, Any], resume_step: int | None) -> Self:
        """Start a log, or continue one.

        Args:
            path: The log file. Its folder is created if it is missing.
            configuration: Names mapped to JSON values. No name may be "kind". It is not used if a log that resumes
                already has one.
            resume_step: None starts a new log and replaces an older one. A number drops the records with a later
                "step",
                because the run will write them again.

        Raises:
            OSError: The log cannot be read or written.
            ValueError: `configuration` has the name "kind", or `path` is not a regular file.
            TypeError: `configuration` has a value that JSON cannot hold.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if "kind" in configuration:
            raise ValueError('configuration has the name "kind", which every record uses for its kind; rename it.')
        first = json_line({"kind": "configuration", **configuration}).encode()
        if resume_step is None or not path.exists():
            replace_file(path, [first])
        else:
            replace_file(path, _lines_until(path, resume_step, first))
        return cls(path.open("a", encoding="utf-8", newline="\n"))

    def write(self, kind: str, **fields: Any) -> None:
        """Append a record and flush it.

        Args:
            kind: What the record is about, such as "step" or "validation".
            fields: JSON values. A record that a resumed run will write again must have a "step".

        Raises:
            OSError: The record cannot be written, as on a full disk. Part of the line may have been written.
            TypeError: A field has a value that JSON cannot hold.
        """
        line = json_line({"kind": kind, **fields})
        with naming(Path(self._file.name)):
            self._file.write(line)
            self._file.flush()

    def sync(self) -> None:
        """Make all records so far durable, so that they outlast a crash of the machine. Raises OSError as `write` "
        "does."""
        with naming(Path(self._file.name)):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Closing tries once more to write what could not be written, but the first error is the one to report.
        with suppress(OSError) if error is not None else nullcontext():
            self.close()


def _lines_until(path: Path, step: int, configuration: bytes) -> list[bytes]:
    """Return the lines to keep, preceded by `configuration` if they contain none. Foreign lines stay as they are."""
    lines, has_configuration = [], False
    for line, record in judged_lines(path):
        is_whole = line.endswith(b"\n")
        if record is None:
            lines += [line] if is_whole else []
        elif (own_step := step_of(record)) is None or own_step <= step:
            lines.append(line if is_whole else line + b"\n")
            has_configuration |= record["kind"] == "configuration"
    return lines if has_configuration else [configuration, *lines]
