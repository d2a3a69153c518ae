"""Show an inspection as a table on a terminal of 80 columns or more."""

import math
import re
from typing import NamedTuple

from rich.cells import cell_len, chop_cells
from rich.text import Text

from steadydecay.inspection.inspected_layers import Layer
from steadydecay.inspection.plain_names import short_name

MISSING = "–"
FAR = "!"
NARROWEST_NAME = 12


def layer_table(layers: list[Layer], tolerance: float, width: int) -> Text:
    """Return a table with a row for each layer, without columns that have no value. "!" marks norms far from
    prediction.

    Args:
        layers: The layers in the order of the rows.
        tolerance: The share by which a norm may differ from its prediction.
        width: The width of the terminal in characters. Names fold and numbers do not, so print it without wrapping.
    """
    columns = {
        "shape": [shape_text(layer.weight.shape) for layer in layers],
        "role": [printable(layer.role) for layer in layers],
        "RMS": [number(layer.measures.rms) for layer in layers],
        "steady\nRMS": [number(layer.predicted_rms) for layer in layers],
        "‖θ‖": [number(layer.measures.norm) for layer in layers],
        "steady\n‖θ‖": [number(layer.predicted_norm) for layer in layers],
        "σ max": [number(max(layer.measures.spectral, default=math.nan)) for layer in layers],
        "ratio": [number(layer.ratio) for layer in layers],
        "": [FAR if layer.is_far(tolerance) else "" for layer in layers],
    }
    shown = [_column(title, cells) for title, cells in columns.items() if set(cells) - {MISSING, ""}]
    room = max(NARROWEST_NAME, width - sum(1 + one.width for one in shown))
    names = [_name_lines(printable(short_name(layer.name)), room) for layer in layers]
    names_width = max(cell_len(line) for lines in (["weight"], *names) for line in lines)
    titles = [one.title.rpartition("\n") for one in shown]
    # rich's own tables take milliseconds per row.
    lines = [
        Text(_line("", names_width, shown, [above for above, _, _ in titles]), style="bold"),
        Text(_line("weight", names_width, shown, [title for _, _, title in titles]), style="bold"),
    ]
    for index, layer in enumerate(layers):
        first, *others = names[index]
        row = [_line(first, names_width, shown, [one.cells[index] for one in shown]), *others]
        lines += [Text(line, style="bold red" if layer.is_far(tolerance) else "") for line in row]
    return Text("\n").join(lines)


class _Column(NamedTuple):
    title: str
    cells: list[str]
    width: int


def _column(title: str, cells: list[str]) -> _Column:
    return _Column(title, cells, max(map(cell_len, (*cells, *title.split("\n")))))


def _line(name: str, names_width: int, columns: list[_Column], cells: list[str]) -> str:
    padded = [_padded(name, names_width, is_left=True)]
    padded += [_padded(cell, one.width, is_left=one.title == "role") for one, cell in zip(columns, cells, strict=True)]
    return " ".join(padded).rstrip()


def _padded(cell: str, width: int, *, is_left: bool) -> str:
    spaces = " " * (width - cell_len(cell))
    return cell + spaces if is_left else spaces + cell


def _name_lines(name: str, room: int) -> list[str]:
    return [piece for line in folded(name, room).split("\n") for piece in chop_cells(line, room) or [""]]


def number(value: float) -> str:
    """Format a number with three digits, or "–" if it is unknown.

    >>> [number(value) for value in (0.04, 29.93, 99.96, 1234.5, 4.2e-7, 0.0, float("nan"))]
    ['0.0400', '29.9', '100', '1234', '4.20e-07', '0', '–']
    """
    if math.isnan(value):
        return MISSING
    return f"{value:.0f}" if value == 0 or 100 <= abs(value) < 100_000 else f"{value:#.3g}".removesuffix(".")


def folded(name: str, width: int) -> str:
    """Break a name into lines that end at its dots, unless a part is wider than a line.

    >>> folded("model.layers.0.attention", 16)
    'model.layers.0.\\nattention'
    """
    lines = [""]
    for part in re.findall(r"[^.]*\.|[^.]+$", name):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def shape_text(shape: tuple[int, ...]) -> str:
    """
    >>> shape_text((3, 128, 128)), shape_text(())
    ('3×128×128', '1')
    """
    return "×".join(map(str, shape)) or "1"


def printable(text: str) -> str:
    """Escape control characters, because a name from a file must not move the terminal's cursor.

    >>> printable("a\\x1b[2Jb")
    'a\\\\x1b[2Jb'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
