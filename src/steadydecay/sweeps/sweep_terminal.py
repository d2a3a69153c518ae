"""Show the maps of a sweep as tables on a terminal."""

from rich.console import Console
from rich.table import Table

from steadydecay.report.style import title_of
from steadydecay.sweeps.sweep_map import MapCell, SweepMap
from steadydecay.sweeps.sweep_report import SweepReport
from steadydecay.sweeps.sweep_words import TITLES, counts_in_words, ranking_in_words

# On a narrower terminal, the tables' lines would wrap.
NARROWEST = 90


def print_sweep(report: SweepReport) -> None:
    """Print a table for each map, and what the sweep found."""
    sentences = (*ranking_in_words(report.ranking), counts_in_words(report.rows))
    console = Console(width=max(Console().width, NARROWEST))
    shown = [part for one in report.maps for part in (_title(one), _table(one))]
    console.print(*shown, *sentences, sep="\n", highlight=False, markup=False)


def _title(one: SweepMap) -> str:
    means = f", means over {' and '.join(one.averaged)}" if one.averaged else ""
    return f"{title_of(one.title)} {TITLES[one.measure]}{means}".strip()


def _table(one: SweepMap) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(f"{one.down} \\ {one.across}" if one.down else one.across)
    lines = [[_cell_text(one.cells.get((row, column))) for column in one.columns] for row in one.rows]
    for column, *cells in zip(one.columns, *lines, strict=True):
        # On a narrow terminal, headers may break into lines but numbers never.
        table.add_column(column, justify="right", min_width=max(map(len, cells)))
    for row, line in zip(one.rows, lines, strict=True):
        table.add_row(row, *line)
    return table


def _cell_text(cell: MapCell | None) -> str:
    if cell is None:
        return "–"
    return ", ".join(filter(None, (cell.value, cell.note)))
