"""Find the logs that a command line names: run folders, folders of runs, and log files."""

from collections.abc import Iterable
from pathlib import Path

from steadydecay.run_log.reader import LogFaults, records_over_steps
from steadydecay.run_log.record import LOG_NAME

REMEDY = f"give the folder of a run, a folder of such folders, or a {LOG_NAME}"


def find_logs(paths: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """Return the logs at `paths`, each once and in order, and one line for each folder without a log.

    Raises:
        ValueError: A path does not exist, a file is not a log, or there is no log at all.
    """
    logs: dict[Path, Path] = {}
    missing = []
    for path in paths:
        found = _logs_at(path)
        logs |= {log.resolve(): log for log in found if log.resolve() not in logs}
        missing += [] if found else [f"{path} does not contain a {LOG_NAME} yet"]
    if not logs:
        raise ValueError(f"no run was found ({'; '.join(missing) or 'no path is given'}); {REMEDY}")
    return list(logs.values()), missing


def unique_names(logs: Iterable[Path]) -> dict[Path, str]:
    """Name each log by its folder, with as many parent folders as are needed to make all names different."""
    folders = {log: log.resolve().parent for log in logs}
    depth = 1
    while len({folder.parts[-depth:] for folder in folders.values()}) < len(set(folders.values())):
        depth += 1
    names = {log: "/".join(folder.parts[-depth:]) for log, folder in folders.items()}
    counts = list(names.values())
    # Two logs with different names may be in one folder.
    return {log: name if counts.count(name) == 1 else f"{name}/{log.name}" for log, name in names.items()}


def _logs_at(path: Path) -> list[Path]:
    if path.is_file():
        _require_log(path)
        return [path]
    if not path.is_dir():
        raise ValueError(f"run is {str(path)!r}, which does not exist; {REMEDY}")
    own = path / LOG_NAME
    return [own] if own.is_file() else sorted(log for log in path.rglob(LOG_NAME) if log.is_file())


def _require_log(path: Path) -> None:
    faults = LogFaults()
    is_empty = next(records_over_steps(path, faults), None) is None
    if is_empty and (path.name != LOG_NAME or faults.foreign):
        raise ValueError(f"run is {str(path)!r}, which contains no record of a run; {REMEDY}")
