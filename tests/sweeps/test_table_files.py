"""Tables as CSV and parquet."""

import math
from pathlib import Path

import pyarrow.parquet
import pytest

from steadydecay.sweeps.table_files import read_csv, write_tables

ROWS = [
    {"optimizer": "scion", "lr": "0.01", "clip": "none", "layers": "2", "loss": 1.5, "top1": None, "note": 'a, "b"\nc'},
    {"optimizer": "scion", "lr": "2e-2", "clip": "1", "layers": "3", "loss": None, "top1": None, "note": None},
]
COLUMNS = list(ROWS[0])


def test_csv_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_tables(tmp_path / "table.csv", COLUMNS, ROWS)
    texts = [{name: "" if cell is None else str(cell) for name, cell in row.items()} for row in ROWS]
    assert read_csv(tmp_path / "table.csv") == texts


def test_parquet_has_numbers_where_all_texts_are_numbers(tmp_path: Path) -> None:
    write_tables(tmp_path / "table.csv", COLUMNS, ROWS)
    table = pyarrow.parquet.read_table(tmp_path / "table.parquet")
    types = {field.name: str(field.type) for field in table.schema}
    assert types == {
        "optimizer": "string",
        "lr": "double",
        "clip": "int64",
        "layers": "int64",
        "loss": "double",
        "top1": "double",
        "note": "string",
    }
    assert table.column("lr").to_pylist() == [0.01, 0.02]
    assert table.column("clip").to_pylist() == [None, 1]
    assert table.column("loss").to_pylist() == [1.5, None]
    assert table.column("note").to_pylist() == ['a, "b"\nc', None]


def test_numbers_keep_all_their_digits(tmp_path: Path) -> None:
    value = math.pi / 3
    write_tables(tmp_path / "table.csv", ["x"], [{"x": value}])
    assert float(read_csv(tmp_path / "table.csv")[0]["x"]) == value
    assert pyarrow.parquet.read_table(tmp_path / "table.parquet").column("x").to_pylist() == [value]


@pytest.mark.parametrize("content", [b"", b"a,b\n1\n", b"\xff\xfe", b'a\n"1\n'])
def test_what_is_no_table_is_refused_with_its_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"table\.csv is not a CSV table with a header"):
        read_csv(tmp_path / "table.csv")
