"""Colours and texts of a sweep's figures."""

import json
from typing import Any

import plotly.graph_objects as go
import pytest

from steadydecay.sweeps.setting_row import ranking_of, setting_rows
from steadydecay.sweeps.sweep_figure import REACH, colour_range, sweep_figure
from steadydecay.sweeps.sweep_map import maps_of
from sweep_rows import row


def heat_map(figure: go.Figure) -> dict[str, Any]:
    """As the page is told to draw it."""
    return json.loads(str(figure.to_json()))["data"][0]


def test_one_terrible_corner_does_not_take_the_colours_from_the_others() -> None:
    losses = {"1": 1.0, "2": 1.1, "3": 1.2, "4": 1.3, "5": 900.0}
    maps = maps_of([row({"lr": lr}, 0, loss) for lr, loss in losses.items()], "val_loss", ("lr",))
    assert colour_range(maps) == (1.0, pytest.approx(1.0 + REACH * 0.2))


def test_colours_end_at_the_worst_where_it_is_near_and_a_flat_sweep_has_colours() -> None:
    maps = maps_of([row({"lr": lr}, 0, float(lr)) for lr in ("1", "2", "3")], "val_loss", ("lr",))
    assert colour_range(maps) == (1.0, 3.0)
    flat = maps_of([row({"lr": lr}, 0, 1.0) for lr in ("1", "2")], "val_loss", ("lr",))
    assert colour_range(flat) == (1.0, pytest.approx(1.0001))
    assert colour_range(maps_of([row({}, status="failed")], "val_loss", ("optimizer",))) == (0.0, 1.0)


def test_high_accuracy_is_the_good_end() -> None:
    trials = [row({"lr": lr}, 0, 1.0, top1=float(lr) / 10) for lr in ("1", "2", "3")]
    maps = maps_of(trials, "top1", ("lr",))
    assert colour_range(maps) == pytest.approx((0.3, 0.1))
    figure = sweep_figure(maps[0], colour_range(maps), None)
    drawn = heat_map(figure)
    assert drawn["reversescale"] is True and (drawn["zmin"], drawn["zmax"]) == (0.1, 0.3)


def test_the_best_bears_the_star_and_empty_cells_their_note() -> None:
    trials = [row({"lr": "1", "clip": "none"}, 0, 2.0), row({"lr": "2", "clip": "none"}, 0, 1.0)]
    trials += [row({"lr": "2", "clip": "<b>"}, 0, status="diverged")]
    maps = maps_of(trials, "val_loss", ("lr", "clip"))
    figure = sweep_figure(maps[0], colour_range(maps), ranking_of(setting_rows(trials), "val_loss").best)
    assert heat_map(figure)["text"] == [["2.0000", "★ 1.0000"], ["", ""]]
    (note,) = figure.layout.annotations
    assert (note.x, note.y, note.text) == (1, 1, "1 diverged")
    assert figure.layout.yaxis.ticktext == ("none", "&lt;b&gt;")
    assert heat_map(figure)["customdata"][1] == ["no trial", "clip = &lt;b&gt;<br>lr = 2<br>0 finished, 1 diverged"]


def test_the_star_is_on_the_map_of_its_optimizer_alone() -> None:
    trials = [row({"optimizer": name, "lr": "1"}, 0, loss) for name, loss in (("scion", 2.0), ("adamw", 1.0))]
    best = ranking_of(setting_rows(trials), "val_loss").best
    figures = [sweep_figure(one, (1.0, 2.0), best) for one in maps_of(trials, "val_loss", ("lr",))]
    assert [heat_map(figure)["text"] for figure in figures] == [[["2.0000"]], [["★ 1.0000"]]]
