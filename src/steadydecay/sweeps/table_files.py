"""Write a table as CSV and parquet, each replaced atomically, and read the CSV."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from steadydecay.run_log.atomic_write import replace_file

Row = Mapping[str, Any]


def require_parquet() -> None:
    """Raise ValueError unless parquet can be written here."""
    if find_spec("pyarrow") is None:
        raise ValueError("the tables need pyarrow, which is not installed; run pip install 'steadydecay[sweep]'")


def write_tables(path: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Write `path` with the suffixes .csv and .parquet.

    Args:
        path: The path without a suffix. Its folder must exist.
        columns: The columns in order.
        rows: Texts, numbers, and None for an empty cell. In parquet, a column of texts that are all numbers becomes
            numeric, and the text "none" becomes an empty cell.

    Raises:
        OSError: A file cannot be written.
    """
    replace_file(path.with_suffix(".csv"), [_as_csv(columns, rows)])
    replace_file(path.with_suffix(".parquet"), [_as_parquet(columns, rows)])


def read_csv(path: Path) -> list[dict[str, str]]:
    """Read the rows of a CSV file with a header.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is not text, or rows and header have different lengths.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file, strict=True)
        return [dict(zip(header, row, strict=True)) for row in rows if row]
    except (csv.Error, ValueError) as error:
        raise ValueError(f"{path} is not a CSV table with a header ({error})") from None


def _as_csv(columns: Sequence[str], rows: Sequence[Row]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([row[name] for name in columns] for row in rows)
    return text.getvalue().encode()


def _as_parquet(columns: Sequence[str], rows: Sequence[Row]) -> memoryview:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({name: _typed([row[name] for row in rows]) for name in columns})
    content = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table, content)
    return memoryview(content.getvalue())


def _typed(cells: Sequence[Any]) -> Any:
    import pyarrow

    kinds: tuple[Callable[[str], Any], ...] = (int, float, str)
    texts = [None if cell is None or cell == "none" else str(cell) for cell in cells]
    for kind in kinds:
        try:
            values = [None if text is None else kind(text) for text in texts]
        except ValueError:
            continue
        # A column that is still empty becomes numeric, as most are.
        return pyarrow.array(values, pyarrow.float64() if all(text is None for text in texts) else None)
    raise AssertionError("every cell is a text")
