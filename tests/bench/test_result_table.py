"""The table on the terminal."""

from io import StringIO

from bench_results import ADAM, OURS, SLOW, result
from rich.console import Console

from steadydecay.bench.result_table import COLUMNS, NONE, notes, result_table, title


def cells(row: object) -> dict[str, str]:
    return {heading: cell(row, result()) for heading, cell in COLUMNS.items()}  # pyright: ignore[reportArgumentType]


def test_cells_are_in_milliseconds_ratios_and_bytes_per_parameter() -> None:
    assert cells(SLOW) == {
        "step, ms": "22.0 (21.0–26.0)",
        "÷ scionc": "2.00",
        "÷ plain floor": "5.50",
        "÷ least floor": "6.29",
        "state, B": "5.25",
        "extra, B": "0.30",
        "polar error": "0.09 / 0.31",
        "calls": "17",
    }


def test_elementwise_optimizers_have_no_floor_of_products() -> None:
    assert [cells(ADAM)[heading] for heading in ("÷ plain floor", "÷ least floor", "polar error")] == [NONE] * 3
    assert cells(ADAM)["÷ scionc"] == "0.10"


def test_the_table_begins_with_the_fastest_and_marks_faults() -> None:
    text = StringIO()
    Console(file=text, width=150).print(result_table(result()))
    lines = text.getvalue().splitlines()
    assert [line.split()[1] for line in lines if line.startswith("│")] == ["adam", "scionc", "peer-muon"]
    assert sum("peer-muon *" in line for line in lines) == 1
    assert lines[0].strip() == "gpt-mini, Some CPU: floors 4 and 4 ms"


def test_a_set_that_was_cut_says_so() -> None:
    assert title(result(layers=2)).startswith("gpt-mini cut to 2 of 6 layers, ")


def test_notes_name_faults_and_who_is_missing() -> None:
    assert notes(result()) == [
        "* peer-muon: does less",
        "not measured: dion-muon: ModuleNotFoundError: No module named 'dion'",
    ]
    assert notes(result(rows=[OURS], missing={})) == []
