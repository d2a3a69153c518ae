"""Draw a map of a sweep as a plotly figure, in which every text is escaped."""

import math
import statistics
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from steadydecay.report.figures import as_text
from steadydecay.sweeps.setting_row import SettingRow
from steadydecay.sweeps.sweep_map import MapCell, Place, SweepMap

ROW_HEIGHT = 46
AROUND = 110
# A number and its spread in a cell are legible from this many pixels on. The labels beside the map need some, too.
CELL_WIDTH = 62
LABEL_WIDTH = 90
# Dark is good. Colour-blind readers can tell the colours apart, and the number is in the cell.
COLOUR_SCALE = "Viridis"
# Beyond this multiple of the distance from the best value to the median, all cells have the same colour, so that bad
# corners do not make the good cells look alike.
REACH = 3.0


def colour_range(maps: Sequence[SweepMap]) -> tuple[float, float]:
    """Return the values at which the colours of all maps begin and end, from the good end to the bad one."""
    means = [cell.spread.mean for one in maps for cell in one.cells.values() if cell.spread]
    if not means:
        return 0.0, 1.0
    is_high_good = maps[0].measure == "top1"
    best, worst = (max(means), min(means)) if is_high_good else (min(means), max(means))
    reach = REACH * abs(statistics.median(means) - best)
    # A flat sweep also has a range, of one unit in the last digit that is shown.
    distance = max(min(reach, abs(worst - best)) or abs(worst - best), 1e-4)
    return best, best - distance if is_high_good else best + distance


def sweep_figure(one: SweepMap, colours: tuple[float, float], best: SettingRow | None) -> go.Figure:
    """Draw columns and rows as categories in their order, and mark the cell of the best setting with a star."""
    places = [[(row, column) for column in one.columns] for row in one.rows]
    low, high = sorted(colours)
    figure = go.Figure(
        go.Heatmap(
            x=list(range(len(one.columns))),
            y=list(range(len(one.rows))),
            z=np.clip([[_mean(one.cells.get(place)) for place in line] for line in places], low, high),
            text=[[_text(one, place, best) for place in line] for line in places],
            customdata=[[_hover(one, place) for place in line] for line in places],
            texttemplate="%{text}",
            hovertemplate="%{customdata}<extra></extra>",
            zmin=low,
            zmax=high,
            colorscale=COLOUR_SCALE,
            reversescale=colours[0] > colours[1],
            xgap=1,
            ygap=1,
            colorbar={"thickness": 10, "outlinewidth": 0, "tickformat": ".4~f"},
            # The page leaves the numbers out if it is narrower than this.
            meta=LABEL_WIDTH + CELL_WIDTH * len(one.columns),
        )
    )
    height = ROW_HEIGHT * len(one.rows) + AROUND
    # plotly writes nothing into a cell without a finished trial, which has no colour; hence the annotations.
    figure.update_layout(
        template=None, height=height, margin={"l": 60, "r": 10, "t": 8, "b": 56}, annotations=_notes(one)
    )
    plain = {"showgrid": False, "zeroline": False}
    figure.update_xaxes(title_text=as_text(one.across), **_ticks(one.columns), **plain)
    figure.update_yaxes(title_text=as_text(one.down), automargin="left", **_ticks(one.rows), **plain)
    return figure


def _ticks(texts: Sequence[str]) -> dict[str, object]:
    return {"tickvals": list(range(len(texts))), "ticktext": [as_text(text) for text in texts]}


def _mean(cell: MapCell | None) -> float:
    return cell.spread.mean if cell is not None and cell.spread is not None else math.nan


def _text(one: SweepMap, place: Place, best: SettingRow | None) -> str:
    cell = one.cells.get(place)
    if cell is None or cell.spread is None:
        return ""
    mean, _, deviation = cell.value.partition(" ± ")
    star = "★ " if _holds(one, place, best) else ""
    return "<br>".join(filter(None, (f"{star}{mean}", f"± {deviation}" if deviation else "", cell.note)))


def _holds(one: SweepMap, place: Place, best: SettingRow | None) -> bool:
    if best is None or one.title not in ("", best.setting["optimizer"]):
        return False
    return place == (best.setting[one.down] if one.down else "", best.setting[one.across])


def _hover(one: SweepMap, place: Place) -> str:
    cell = one.cells.get(place)
    if cell is None:
        return "no trial"
    fields = [f"{name} = {text}" for name, text in zip((one.down, one.across), place, strict=True) if name]
    trials = ", ".join(filter(None, (f"{cell.counts.get('finished', 0)} finished", cell.note)))
    return "<br>".join(as_text(line) for line in (*fields, cell.value, trials) if line)


def _notes(one: SweepMap) -> list[dict[str, object]]:
    return [
        {"x": one.columns.index(column), "y": one.rows.index(row), "text": as_text(cell.note), "showarrow": False}
        for (row, column), cell in one.cells.items()
        if cell.spread is None
    ]
