"""Show a result as a table on the terminal."""

from collections.abc import Callable

from rich.table import Table

from steadydecay.bench.results import Result, Row, least_floor, plain_floor, ratio_to_reference, spread

Cell = Callable[[Row, Result], str]
NONE = "–"


def milliseconds(row: Row, _: Result) -> str:
    low, median, high = (1000 * value for value in spread(row.times))
    return f"{three_digits(median)} ({three_digits(low)}–{three_digits(high)})"


def ratio(row: Row, _: Result) -> str:
    return f"{ratio_to_reference(row):.2f}"


def to_plain_floor(row: Row, result: Result) -> str:
    return f"{spread(row.times).median / plain_floor(result):.2f}" if row.polar_errors else NONE


def to_least_floor(row: Row, result: Result) -> str:
    return f"{spread(row.times).median / least_floor(result):.2f}" if row.polar_errors else NONE


def state(row: Row, result: Result) -> str:
    return f"{row.state_bytes / result.parameters:.2f}"


def extra(row: Row, result: Result) -> str:
    return f"{row.extra_bytes / result.parameters:.2f}"


def polar_errors(row: Row, _: Result) -> str:
    return " / ".join(f"{error:.2f}" for error in row.polar_errors) or NONE


def calls(row: Row, _: Result) -> str:
    return str(row.calls)


COLUMNS: dict[str, Cell] = {
    "step, ms": milliseconds,
    "÷ scionc": ratio,
    "÷ plain floor": to_plain_floor,
    "÷ least floor": to_least_floor,
    "state, B": state,
    "extra, B": extra,
    "polar error": polar_errors,
    "calls": calls,
}


def three_digits(value: float) -> str:
    """
    >>> three_digits(1234.5), three_digits(12.345), three_digits(0.01234)
    ('1234', '12.3', '0.0123')
    """
    return f"{value:.0f}" if value >= 100 else f"{value:#.3g}".rstrip(".")


def result_table(result: Result) -> Table:
    table = Table(title=title(result), title_justify="left")
    table.add_column("optimizer", no_wrap=True)
    for heading in COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in by_time(result):
        mark = " *" if row.faults else ""
        table.add_row(row.name + mark, *(cell(row, result) for cell in COLUMNS.values()))
    return table


def cut_of(result: Result) -> str:
    """Return what to add to the name of a set that is not complete."""
    return "" if result.layers == result.all_layers else f" cut to {result.layers} of {result.all_layers} layers"


def title(result: Result) -> str:
    floors = f"floors {1000 * plain_floor(result):.0f} and {1000 * least_floor(result):.0f} ms"
    return f"{result.shape_set}{cut_of(result)}, {result.device['name']}: {floors}"


def by_time(result: Result) -> list[Row]:
    return sorted(result.rows, key=ratio_to_reference)


def notes(result: Result) -> list[str]:
    """Return faults, and contestants that could not take part."""
    faults = [f"* {row.name}: {fault}" for row in result.rows for fault in row.faults]
    return faults + [f"not measured: {name}: {error}" for name, error in result.missing.items()]
