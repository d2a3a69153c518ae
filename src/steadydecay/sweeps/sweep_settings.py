"""Expand a grid, a list and seeds into settings, which map fields to text as command lines and files give it."""

import csv
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

Setting = dict[str, str]
Axes = dict[str, tuple[str, ...]]
LINES_OF_JSON = (".jsonl", ".ndjson")


def axes_of(texts: Iterable[str]) -> Axes:
    """Parse fields and values from texts such as "lr=0.01,0.02". A value with a comma needs double quotes.

    Raises:
        ValueError: A text has no "=" or no value, or a field occurs twice.

    >>> axes_of(["lr=0.01, 2e-2", 'data="a,b.txt",c.txt'])
    {'lr': ('0.01', '2e-2'), 'data': ('a,b.txt', 'c.txt')}
    """
    axes: Axes = {}
    for text in texts:
        name, equals, values = text.partition("=")
        name = name.strip()
        if not equals or not name or not values.strip():
            raise ValueError(f"grid is {text!r}; it must be a field and its values, such as lr=0.01,0.02,0.04")
        if name in axes:
            raise ValueError(f"grid names {name!r} twice; give all its values at once, as in {name}=VALUE,VALUE")
        axes[name] = _split(text, values)
    return axes


def listed_settings(path: Path) -> list[Setting]:
    """Read a list of trials: a CSV file with a header, or lines of JSON if its name ends in .jsonl or .ndjson.

    An empty cell of CSV leaves its field to the other arguments.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file has no row, or a row is malformed. The message names the line.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(_rows_of_json(path, file) if path.suffix in LINES_OF_JSON else _rows_of_csv(path, file))
    if not rows:
        raise ValueError(
            f"list is {str(path)!r}, which has no trial; it needs at least one row, below the header in CSV"
        )
    return rows


def combined(rows: Sequence[Setting], axes: Axes, default_axes: Axes) -> list[Setting]:
    """Combine each row with each point of the grid. Equal settings may occur more than once.

    Args:
        rows: The rows of a list, or one empty row without a list.
        axes: The axes of the grid.
        default_axes: The optimizers and the seeds, for rows that do not set them.

    Raises:
        ValueError: A row and the grid set the same field.
    """
    settings = []
    for row in rows:
        if both := sorted(row.keys() & axes.keys()):
            raise ValueError(f"grid and list both set {both[0]!r}; remove it from one of them")
        own = axes | {name: values for name, values in default_axes.items() if name not in {*row, *axes}}
        settings += [row | dict(zip(own, values, strict=True)) for values in itertools.product(*own.values())]
    return settings


def shown_settings(settings: Iterable[Setting]) -> str:
    """Format the different values of each field, one line per field.

    >>> shown_settings([{"lr": "0.01", "seed": "0"}, {"lr": "0.02", "seed": "0"}, {"seed": "0"}])
    'lr: 0.01, 0.02\\nseed: 0'
    """
    values: dict[str, dict[str, None]] = {}
    for setting in settings:
        for name, text in setting.items():
            values.setdefault(name, {})[text] = None
    return "\n".join(f"{name}: {', '.join(texts)}" for name, texts in values.items())


def _split(text: str, values: str) -> tuple[str, ...]:
    try:
        (found,) = csv.reader([values.strip()], skipinitialspace=True, strict=True)
    except (csv.Error, ValueError) as error:
        example = 'data="a,b.txt",c.txt'
        raise ValueError(f"grid is {text!r}, whose quotes do not match ({error}); write it as in {example}") from None
    if not all(value.strip() for value in found):
        raise ValueError(f"grid is {text!r}, which has an empty value between commas; remove that comma")
    return tuple(value.strip() for value in found)


def _rows_of_csv(path: Path, lines: Iterable[str]) -> Iterator[Setting]:
    reader = csv.reader(lines)
    names = [name.strip() for name in next(reader, [])]
    if len(set(names)) < len(names) or "" in names:
        raise ValueError(
            f"list is {str(path)!r}, whose header is {','.join(names)!r}; its field names must be different"
        )
    for cells in reader:
        if len(cells) not in (0, len(names)):
            place = f"list {str(path)!r}, line {reader.line_num}"
            raise ValueError(
                f"{place} has {len(cells)} cells but the header has {len(names)}; their numbers must be equal"
            )
        if cells:
            yield {name: cell.strip() for name, cell in zip(names, cells, strict=True) if cell.strip()}


def _rows_of_json(path: Path, lines: Iterable[str]) -> Iterator[Setting]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict) or any(isinstance(value, dict | list) for value in row.values()):
            example = '{"lr": 0.01, "steps": 400}'
            raise ValueError(
                f"list {str(path)!r}, line {number} is {line.strip()!r}; it must be JSON such as {example}"
            )
        yield {name: _as_text(value) for name, value in row.items()}


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else {None: "none", True: "true", False: "false"}.get(value, str(value))
