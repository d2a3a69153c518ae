"""Panels, and the page and the picture that show them."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from browser import SIZES, OpenPage, Size, horizontal_overflow
from steadydecay.forecasting.forecast_page import write_page
from steadydecay.forecasting.forecast_panels import MOST_POINTS, Panel, panels_of
from steadydecay.forecasting.forecast_picture import write_picture
from steadydecay.forecasting.hyperparameters import Hyperparameters
from steadydecay.forecasting.kind_forecast import forecast_kinds
from steadydecay.forecasting.plan import plan_of, shares_of
from steadydecay.forecasting.trained_run import TrainedRun
from steadydecay.recipes.gpt.recipe import gpt_recipe


def panels(*shapes: str, steps: int = 200, run: TrainedRun | None = None, decay: float = 0.02) -> list[Panel]:
    given = Hyperparameters("scion", lr=0.1, decay_per_step=decay)
    plan = plan_of(list(shapes), None, given, shares_of("cosine", steps))
    return panels_of(forecast_kinds(plan.kinds, plan.shares, run=run))


def names(panel: Panel) -> list[str]:
    return [line.name for line in panel.lines]


def test_a_panel_for_each_kind_and_one_for_the_decay() -> None:
    found = panels("16x4:output", "8x4:3")
    assert [panel.title for panel in found] == [
        "16x4:output\noutput sign 16×4",
        "8x4:3\nhidden spectral 8×4 ×3",
        "decay per step η",
    ]
    assert names(found[0]) == ["steady state of the peak", "constant"]
    assert names(found[1]) == ["steady state of the peak", "constant", "corrected"]
    assert names(found[2]) == ["constant", "corrected"]
    constant, corrected = found[2].lines
    assert (constant.steps[0], constant.values[0]) == (1, pytest.approx(0.02))
    np.testing.assert_allclose(corrected.values, constant.values**2 / 0.02)


def test_output_layers_alone_have_a_decay_too() -> None:
    assert names(panels("16x4:output")[1]) == ["constant"]


def test_without_decay_there_is_no_steady_state_to_draw() -> None:
    assert names(panels("8x4", decay=0.0)[0]) == ["constant", "corrected"]


def test_measurements_are_points_and_their_forecast_a_line() -> None:
    norms = dict.fromkeys(range(1, 201), 2.0)
    run = TrainedRun("run", gpt_recipe("mini", "scion", {}), {"8x4": norms}, {"8x4": {100: 2.0}})
    (panel, _) = panels("8x4", run=run)
    assert names(panel)[-2:] == ["with measured updates", "measured"]
    assert panel.lines[-1].dash == "markers" and len(panel.lines[-1].steps) == 60


def test_long_runs_are_drawn_with_few_points_first_and_last_among_them() -> None:
    for line in panels("8x4", steps=5000)[0].lines[1:]:
        assert len(line.steps) == MOST_POINTS
        assert (line.steps[0], line.steps[-1]) == (0, 5000)


def test_a_wanted_rms_is_a_level_and_takes_the_place_of_steady_states_that_differ() -> None:
    given = Hyperparameters("scion", lr=0.1, decay_per_step=0.0)
    plan = plan_of(["8x4", "8"], None, given, shares_of("cosine", 200))
    forecasts = forecast_kinds(plan.kinds, plan.shares, wanted_rms=0.3, is_decay_open=True)
    matrix, vector, decays = panels_of(forecasts)
    assert names(matrix) == ["the desired RMS", "constant", "corrected"] and "the desired RMS" not in names(vector)
    assert matrix.lines[0].values.tolist() == [pytest.approx(0.3 * 32**0.5)] * 2
    assert matrix.lines[1].values[-1] == pytest.approx(matrix.lines[2].values[-1], rel=1e-6)
    assert decays.lines[0].values[0] < decays.lines[1].values[0]


def test_every_axis_says_what_it_shows(tmp_path: Path) -> None:
    found = panels("8x4", "16x4:output")
    drawn = write_picture(found, tmp_path / "forecast.svg").read_text(encoding="utf-8")
    page = write_page(found, [], tmp_path / "forecast.html").read_text(encoding="utf-8")
    assert drawn.count(">weight norm ‖θ‖ of one layer</text>") == 2 and drawn.count(">step</text>") == 3
    assert drawn.count(">share of the weights η</text>") == 1
    assert len(re.findall(r'"title":\{"text":"weight norm [^"]* of one layer"\}', page)) == 2


def test_rules_differ_in_colour_and_dash() -> None:
    _, constant, corrected = panels("8x4")[0].lines
    assert constant.colour != corrected.colour and constant.dash != corrected.dash


class Page(HTMLParser):
    """What a page loads, and the text of its list."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.notes: list[str] = []
        self._in_note = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href")]
        self._in_note = tag == "li"

    def handle_data(self, data: str) -> None:
        if self._in_note:
            self.notes.append(data)


def test_a_page_stands_alone_and_escapes_what_others_named(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>"
    found = [replace(panel, title=hostile) for panel in panels("8x4")]
    path = write_page(found, ["a < b"], tmp_path / "below" / "forecast.html")
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert page.loaded == [] and page.notes == ["a < b"]
    assert hostile not in text
    assert "alert(1)" in text
    assert len(re.findall(r'"name":"corrected"', text)) == 2


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_a_browser_draws_every_line_of_the_page(size: Size, open_page: OpenPage, tmp_path: Path) -> None:
    norms = dict.fromkeys(range(1, 201), 2.0)
    run = TrainedRun("run", gpt_recipe("mini", "scion", {}), {"8x4": norms}, {"8x4": {100: 0.2}})
    found = panels("8x4", "16x4:output", run=run)
    page = open_page(write_page(found, ["a note"], tmp_path / "forecast.html"), size)
    plots = page.locator(".js-plotly-plot")
    assert plots.count() == len(found)
    for index, panel in enumerate(found):
        assert plots.nth(index).locator(".scatterlayer .trace").count() == len(panel.lines)
        shown = plots.nth(index).locator(".legendtext").all_text_contents()
        assert shown == names(panel)
    assert page.locator("h2").all_inner_texts()[0].split("\n") == ["8x4", "hidden spectral 8×4"]
    assert horizontal_overflow(page) <= 0
    for index in range(len(found)):
        plot, drawing = plots.nth(index).bounding_box(), plots.nth(index).locator(".main-svg").first.bounding_box()
        assert plot is not None and drawing is not None
        # A plot that was drawn before its neighbours were there must not stick out of its column.
        assert 250 < drawing["width"] <= plot["width"] + 1 <= SIZES[size][0]


def test_a_picture_is_a_png_with_the_lines_in_their_colours(tmp_path: Path) -> None:
    found = panels("8x4", "4x4", "2x2", "16x4:output")
    path = write_picture(found, tmp_path / "below" / "forecast.png")
    pixels = matplotlib.image.imread(path)
    assert pixels.shape[1] > 1500 and pixels.shape[0] > 800
    for line in found[0].lines:
        colour = [int(line.colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
        assert (np.abs(pixels[:, :, :3] - colour).max(axis=2) < 0.02).sum() > 200, line.name


def test_a_picture_takes_titles_that_look_like_mathematics(tmp_path: Path) -> None:
    path = write_picture([replace(panel, title="blocks.*.$x^{$") for panel in panels("8x4")], tmp_path / "forecast.png")
    assert path.read_bytes().startswith(b"\x89PNG")
