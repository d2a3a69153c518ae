"""The four tables of a sweep, which are written after each trial and which a report reads."""

from collections.abc import Sequence
from pathlib import Path

from steadydecay.sweeps.setting_row import SUMMARY_COLUMNS, setting_rows
from steadydecay.sweeps.table_files import read_csv, write_tables
from steadydecay.sweeps.trial_row import RESULT_COLUMNS, TrialRow, parsed_row

TABLE_NAME = "sweep.csv"
SUMMARY_NAME = "sweep_summary.csv"


def write_sweep(rows: Sequence[TrialRow], out: Path) -> None:
    """Write `sweep` and `sweep_summary` as CSV and parquet into `out`.

    Raises:
        OSError: A file cannot be written.
    """
    fields = list(rows[0].setting)
    write_tables(out / TABLE_NAME, [*fields, *RESULT_COLUMNS], [row.cells for row in rows])
    write_tables(out / SUMMARY_NAME, [*fields, *SUMMARY_COLUMNS], [row.cells for row in setting_rows(rows)])


def read_sweep(out: Path) -> list[TrialRow]:
    """Read the trials of the sweep in a folder.

    Raises:
        OSError: The table cannot be read.
        ValueError: The table is not that of a sweep.
    """
    path = out / TABLE_NAME
    try:
        rows = [parsed_row(cells) for cells in read_csv(path)]
    except KeyError as error:
        raise ValueError(f"{path} has no column {error}; a sweep's table has {', '.join(RESULT_COLUMNS)}") from None
    except ValueError as error:
        raise ValueError(
            f"{path} is not the table of a sweep: {error}; run `steadydecay sweep` again to write it"
        ) from None
    if not rows:
        raise ValueError(f"{path} contains no trial; run `steadydecay sweep` again to write it")
    return rows


def is_sweep(folder: Path) -> bool:
    """Return whether a sweep has written its table there."""
    return (folder / TABLE_NAME).is_file()


def earlier_attempts(out: Path) -> dict[str, int]:
    """Return the attempts by trial in the table of an earlier command, or nothing if it was lost or edited."""
    try:
        return {row.trial: row.attempts for row in read_sweep(out)}
    except (OSError, ValueError):
        return {}
