"""Write a run's log: one record a line, the configuration first; a resumed run goes on where its checkpoint was."""

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
    """An open log; one process writes to it. Use `RunLog.open`."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    @classmethod
    def open(cls, path: str | Path, *, configuration: dict[str, Any], resume_step: int | None) -> Self:
        """Start a log, or go on with one.

        Args:
            path: its folder is made if missing.
            configuration: names to JSON values; no name is "kind". Unused where a log that resumes has one already.
            resume_step: None starts anew and replaces an older log. Otherwise records with a later "step" are dropped,
                for the run will write them again.

        Raises:
            OSError: the log cannot be read or written.
            ValueError: configuration has the name "kind", or the log is no plain file.
            TypeError: configuration holds what JSON cannot.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if "kind" in configuration:
            raise ValueError('configuration has the name "kind", which marks the record; legal is any other: rename it')
        first = json_line({"kind": "configuration", **configuration}).encode()
        if resume_step is None or not path.exists():
            replace_file(path, [first])
        else:
            replace_file(path, _lines_until(path, resume_step, first))
        return cls(path.open("a", encoding="utf-8", newline="\n"))

    def write(self, kind: str, **fields: Any) -> None:
        """Append a record and flush it.

        Args:
            kind: what the record is about: "step", "validation", ...
            fields: JSON values; records that a resumed run will write again carry their "step".

        Raises:
            OSError: it cannot be written, as on a full disk; a part of the line may be.
            TypeError: a field holds what JSON cannot.
        """
        line = json_line({"kind": kind, **fields})
        with naming(Path(self._file.name)):
            self._file.write(line)
            self._file.flush()

    def sync(self) -> None:
        """Make all records so far durable: they outlast a crash of the machine. Raises OSError as `write`."""
        with naming(Path(self._file.name)):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # What could not be written is tried once more at closing; the first error says it.
        with suppress(OSError) if error is not None else nullcontext():
            self.close()


def _lines_until(path: Path, step: int, configuration: bytes) -> list[bytes]:
    """The lines that stay, after `configuration` if they hold none. Foreign lines are kept as they are."""
    lines, has_configuration = [], False
    for line, record in judged_lines(path):
        is_whole = line.endswith(b"\n")
        if record is None:
            lines += [line] if is_whole else []
        elif (own_step := step_of(record)) is None or own_step <= step:
            lines.append(line if is_whole else line + b"\n")
            has_configuration |= record["kind"] == "configuration"
    return lines if has_configuration else [configuration, *lines]
