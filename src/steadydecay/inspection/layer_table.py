"""An inspection as a table for a terminal of 80 columns or more."""

import math
import re

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from steadydecay.inspection.inspected_layers import Layer
from steadydecay.inspection.plain_names import short_name

MISSING = "–"
FAR = "!"
NARROWEST_NAME = 12


def layer_table(layers: list[Layer], tolerance: float, width: int) -> Table:
    """A row for each layer. Columns without a single value are left out; "!" marks what is far from its prediction.

    Args:
        layers: in the order of the rows.
        tolerance: share by which a norm may differ from its prediction.
        width: of the terminal, in characters. Names fold, numbers never do.
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
    shown = {title: cells for title, cells in columns.items() if set(cells) - {MISSING, ""}}
    widths = [max(map(cell_len, (*cells, *title.split("\n")))) for title, cells in shown.items()]
    room = max(NARROWEST_NAME, width - sum(1 + one for one in widths))
    names = [folded(printable(short_name(layer.name)), room) for layer in layers]
    longest = max((len(line) for name in names for line in name.split("\n")), default=0)
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("weight", overflow="fold", width=min(room, max(len("weight"), longest)))
    for title, column_width in zip(shown, widths, strict=True):
        table.add_column(title, justify="left" if title == "role" else "right", no_wrap=True, width=column_width)
    for index, layer in enumerate(layers):
        style = "bold red" if layer.is_far(tolerance) else ""
        # Text, not markup: a name from a file may hold brackets.
        cells = [Text(names[index]), *(Text(cells[index]) for cells in shown.values())]
        table.add_row(*cells, style=style)
    return table


def number(value: float) -> str:
    """Three digits; "–" for what is not known.

    >>> [number(value) for value in (0.04, 29.93, 99.96, 1234.5, 4.2e-7, 0.0, float("nan"))]
    ['0.0400', '29.9', '100', '1234', '4.20e-07', '0', '–']
    """
    if math.isnan(value):
        return MISSING
    return f"{value:.0f}" if value == 0 or 100 <= abs(value) < 100_000 else f"{value:#.3g}".removesuffix(".")


def folded(name: str, width: int) -> str:
    """A name in lines that end at its dots, as far as its parts are not wider than a line.

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
    """Control characters as escapes: a name from a file must not move the terminal's cursor.

    >>> printable("a\\x1b[2Jb")
    'a\\\\x1b[2Jb'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
