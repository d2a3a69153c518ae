"""The maps of a sweep as tables for a terminal."""

from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from steadydecay.report.style import title_of
from steadydecay.sweeps.setting_row import Ranking
from steadydecay.sweeps.sweep_map import MapCell, SweepMap
from steadydecay.sweeps.sweep_words import TITLES, ranking_in_words


def shown_sweep(maps: Sequence[SweepMap], ranking: Ranking) -> Group:
    """A table for each map, and what the sweep found."""
    return Group(*(_table(one) for one in maps), *(Text(sentence) for sentence in ranking_in_words(ranking)))


def _table(one: SweepMap) -> Table:
    means = f" (means over {', '.join(one.averaged)}, too)" if one.averaged else ""
    title = f"{title_of(one.title)} {TITLES[one.measure]}{means}".strip()
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(f"{one.down} \\ {one.across}" if one.down else one.across)
    lines = [[_cell_text(one.cells.get((row, column))) for column in one.columns] for row in one.rows]
    for column, *cells in zip(one.columns, *lines, strict=True):
        # On a narrow terminal headers break into lines, numbers never.
        table.add_column(column, justify="right", min_width=max(map(len, cells)))
    for row, line in zip(one.rows, lines, strict=True):
        table.add_row(row, *line)
    return table


def _cell_text(cell: MapCell | None) -> str:
    if cell is None:
        return "–"
    return ", ".join(filter(None, (cell.value, cell.note)))
