"""Plotly figures: legal, readable without colour, every name as text."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from report_logs import IMAGE, write_run
from steadydecay.report.figures import as_text, heat_map_figure, moved_apart, panel_figure
from steadydecay.report.heatmap import HeatMap, heat_map_of
from steadydecay.report.measure_panels import measure_panels
from steadydecay.report.runs import load_all, load_run
from steadydecay.report.variants import variants_of


def figures_of(folder: Path) -> dict[str, Any]:
    panels = measure_panels(variants_of(load_all([folder])[0]))[0]
    return {panel.measure.key: panel_figure(panel) for panel in panels}


def test_lines_are_told_apart_by_dash_marker_and_label(tmp_path: Path) -> None:
    names = ("scionc", "scion", "adamw", "lion", "muon")
    for name in names:
        write_run(tmp_path / name, name)
    for figure in figures_of(tmp_path).values():
        measured = [trace for trace in figure.data if trace.mode == "lines+markers"]
        assert len({trace.line.dash for trace in measured}) == len(names)
        assert len({trace.marker.symbol for trace in measured}) == len(names)
        labels = {note.text for note in figure.layout.annotations}
        assert labels == {"● ScionC", "■ Scion", "▲ AdamW", "◆ Lion", "▼ Muon"}
        heights = sorted(
            (note.y - figure.layout.yaxis.range[0]) / np.ptp(figure.layout.yaxis.range) * 252 + note.yshift
            for note in figure.layout.annotations
        )
        assert min(np.diff(heights)) > 13, "labels do not lie on each other"


def test_a_label_stands_at_the_end_of_its_line(tmp_path: Path) -> None:
    for name in ("scionc", "scion"):
        write_run(tmp_path / name, name)
    for key, is_log in (("weight-norm", False), ("gradient-norm", True)):
        figure = figures_of(tmp_path)[key]
        ends = [trace.y[-1] for trace in figure.data if trace.mode == "lines+markers"]
        expected = [np.log10(end) if is_log else end for end in ends]
        assert [note.y for note in figure.layout.annotations] == pytest.approx(expected, rel=1e-5)
        assert [note.yshift for note in figure.layout.annotations] == pytest.approx([0, 0], abs=1e-3)
        assert figure.layout.yaxis.type == ("log" if is_log else "linear")


def test_a_prediction_is_dotted_in_the_colour_of_its_run(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    predicted, measured = figures_of(tmp_path)["weight-norm"].data
    assert (predicted.line.dash, predicted.name, measured.name) == ("dot", "run: predicted", "run")
    assert predicted.line.color == measured.line.color


def test_predictions_of_further_seeds_are_faint(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        write_run(tmp_path / f"run{seed}", seed=seed)
    predicted = [trace for trace in figures_of(tmp_path)["weight-norm"].data if trace.line.dash == "dot"]
    assert [trace.opacity for trace in predicted] == [1.0, 0.22, 0.22]


def test_names_from_logs_are_text_everywhere(tmp_path: Path) -> None:
    write_run(tmp_path / IMAGE, IMAGE, layers=(IMAGE, "<b>bold</b>", "$x$", "</script>"), settings={"seed": IMAGE})
    run = load_all([tmp_path])[0][0]
    cells = heat_map_of(run)
    for figure in (*figures_of(tmp_path).values(), drawn(cells)):
        content = figure.to_json()
        assert "<" not in content
        assert "<" not in json.dumps(json.loads(content)["layout"]), "after unescaping JSON, too"
        assert not any("<" in (trace.name or "") for trace in figure.data)
    (trace,) = drawn(cells).data
    assert "&lt;b&gt;bold&lt;/b&gt;" in trace.customdata[1]
    assert "&#36;x&#36;" in trace.customdata[2]


def test_text_of_plotly_is_escaped_and_free_of_tex() -> None:
    assert as_text("""<a href="x">'&$""") == "&lt;a href=&quot;x&quot;&gt;&#x27;&amp;&#36;"


def drawn(cells: HeatMap | None) -> Any:
    assert cells is not None
    return heat_map_figure(cells)


def cells_of(ratios: list[list[float]], names: list[str] | None = None) -> HeatMap:
    values = np.array(ratios)
    rows = tuple(names or [f"layer {index}" for index in range(len(ratios))])
    return HeatMap(rows, np.linspace(0, 100, values.shape[1] + 1), values, values[:, -1], ())


def test_cells_hold_colour_by_logarithm_and_the_number() -> None:
    figure = drawn(cells_of([[0.5, 1.0, 2.0], [0.01, np.nan, 123.4]]))
    (trace,) = figure.data
    np.testing.assert_allclose(trace.z, [[-1, 0, 1], [-1, np.nan, 1]])
    assert list(trace.text) == [["0.50", "1.00", "2.00"], ["0.01", "", "123"]]
    assert (trace.zmin, trace.zmax) == (-1, 1)
    assert figure.layout.yaxis.ticktext == ("layer 0  2.00", "layer 1  123")
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1], "the first layer on top"
    assert list(trace.x) == pytest.approx([0, 100 / 3, 200 / 3, 100])


def test_the_colour_scale_has_its_middle_at_one_and_ends_that_differ() -> None:
    (trace,) = drawn(cells_of([[1.0]])).data
    (low, middle, high) = (trace.colorscale[index][1] for index in (0, 2, 4))
    assert middle == "#F7F7F7" and low != high and trace.colorscale[2][0] == 0.5


def test_many_layers_stay_legible() -> None:
    few, many = (drawn(cells_of([[1.0] * 20] * count)) for count in (30, 300))
    assert few.data[0].texttemplate == "%{text}" and many.data[0].texttemplate is None
    assert len(few.layout.yaxis.tickvals) == 30
    assert many.layout.height <= 1000
    assert many.layout.height / len(many.layout.yaxis.tickvals) >= 10


def test_long_layer_names_are_short_on_the_axis_and_whole_on_hover() -> None:
    name = "model.blocks.11.attention.self.output.dense.weight"
    figure = drawn(cells_of([[1.0, 1.0]], [name]))
    assert figure.layout.yaxis.ticktext == ("model.block…output.dense  1.00",)
    assert list(figure.data[0].customdata[0]) == [name, name]


@given(st.lists(st.floats(-50, 300), max_size=12))
def test_labels_keep_their_distance_and_their_order(wanted: list[float]) -> None:
    places = moved_apart(wanted, 14)
    assert len(places) == len(wanted)
    ordered = sorted(zip(wanted, places, strict=True))
    assert all(upper - lower >= 14 - 1e-6 for (_, lower), (_, upper) in pairwise(ordered)), (
        wanted,
        places,
    )
    assert all(place >= 0 for place in places)


def test_a_log_that_cannot_be_thinned_is_drawn_in_full(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path / "run", steps=1), "run")
    for panel in measure_panels(variants_of([run]))[0]:
        assert panel_figure(panel).data
