"""The page: one file that needs no network, shows every run, and takes names as text."""

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from steadydecay.recipes.run_log import RunLog
from steadydecay.report.page import write_report
from steadydecay.report.table import HEADER

LAYERS = ("embedding.weight", "blocks.0.mlp.up.weight", "blocks.<b>.bold")


class Tags(HTMLParser):
    """Start tags with their attributes, and the text outside scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.cells: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts.append(data)
        else:
            self.text += data
        if self.tags and self.tags[-1][0] in ("td", "th") and data.strip():
            self.cells.append(data)


def write_run(
    folder: Path, optimizer: str, *, norm: float = 8.0, until: int = 100, validations: tuple[int, ...] = (50, 100)
) -> None:
    configuration = {"optimizer": optimizer, "seed": 0, "steps": 100, "data": "<i>data</i>"}
    with RunLog.open(folder / "run.jsonl", configuration=configuration, resume_step=None) as log:
        for step in range(1, until + 1):
            measures = {"weight_norm": norm + step, "predicted_norm": 1000.0 * norm, "gradient_norm": 1.0 / step}
            fields: dict[str, Any] = {name: {"hidden": value} for name, value in measures.items()}
            fields |= {"lr": {"hidden": 0.5}, "decay": {"hidden": 0.25}}
            if step % 20 == 0:
                fields["layers"] = {name: norm + step + index for index, name in enumerate(LAYERS)}
            log.write("step", step=step, loss=5.0 - step / 100, seconds=0.25, **fields)
            if step in validations:
                log.write("validation", step=step, loss=3.0)


@pytest.fixture
def parsed(tmp_path: Path) -> Callable[..., Tags]:
    def write_and_parse(**runs: dict[str, Any]) -> Tags:
        for name, arguments in runs.items():
            write_run(tmp_path / name, **arguments)
        path = write_report(tmp_path, tmp_path / "report.html")
        assert path == tmp_path / "report.html"
        tags = Tags()
        tags.feed(path.read_text(encoding="utf-8"))
        return tags

    return write_and_parse


def figures(tags: Tags) -> list[tuple[list[dict[str, Any]], dict[str, Any]]]:
    """Traces and layout of each figure, as the browser gets them."""
    found = []
    for script in tags.scripts:
        for call in re.finditer(r'Plotly\.newPlot\(\s*"[0-9a-f-]+",\s*(?=\[)', script):
            decoder = json.JSONDecoder()
            traces, end = decoder.raw_decode(script, call.end())
            layout, _ = decoder.raw_decode(script, script.index("{", end))
            found.append((traces, layout))
    return found


BOTH = {"scion-seed0": {"optimizer": "scion"}, "scionc-seed0": {"optimizer": "scionc", "norm": 16.0}}


def test_the_page_needs_nothing_beside_itself(parsed: Callable[..., Tags]) -> None:
    tags = parsed(**BOTH)
    fetching = {"src", "href", "srcset", "data", "poster", "background", "action"}
    assert not [(tag, attributes) for tag, attributes in tags.tags if fetching & attributes.keys()]
    assert not {"link", "iframe", "img", "base", "object", "embed"} & {tag for tag, _ in tags.tags}
    assert not re.search(r"@import|url\(|https?:", tags.text), "style sheets included"
    assert sum(len(script) > 1_000_000 for script in tags.scripts) == 1, "plotly.js, once"
    assert not re.search(r"""import\(|importScripts|<script[^>]*src""", tags.scripts[-1])


def test_all_runs_are_overlaid_with_the_predicted_norm_beside_the_measured(parsed: Callable[..., Tags]) -> None:
    (traces, layout), _ = figures(parsed(**BOTH))
    titles = [note["text"] for note in layout["annotations"]]
    assert [title.split(" (")[0] for title in titles] == [
        "training loss",
        "validation loss",
        "weight norm ‖θ‖, dotted: predicted",
        "gradient norm ‖g‖",
        "learning rate γ",
        "decay per step η",
    ]
    for name, norm in {"scion-seed0": 8.0, "scionc-seed0": 16.0}.items():
        own = [trace for trace in traces if trace["name"] == name]
        assert [trace["xaxis"] for trace in own] == ["x", "x2", "x3", "x4", "x5", "x6"]
        assert [trace["showlegend"] for trace in own] == [True, *[False] * 5]
        loss, validation, weights, gradients, lr, decay = (trace["y"] for trace in own)
        assert loss[:2] == [4.99, (4.99 + 4.98) / 2], "smoothed over 2 of 100 steps"
        assert validation == [3.0, 3.0]
        assert weights == [norm + step for step in range(1, 101)]
        assert gradients[:2] == [1.0, 0.75]
        assert (set(lr), set(decay)) == ({0.5}, {0.25})
        (predicted,) = (trace for trace in traces if trace["name"] == f"{name}: predicted")
        assert (predicted["xaxis"], predicted["line"]["dash"]) == ("x3", "dot")
        assert set(predicted["y"]) == {1000 * norm}
        assert predicted["line"]["color"] == own[0]["line"]["color"]
    assert layout["yaxis3"]["range"] == [0, 1.3 * 116], "a far prediction does not flatten the measured norms"
    colours = {trace["name"].partition("-")[0]: trace["line"]["color"] for trace in traces}
    assert len(set(colours.values())) == 2


def test_every_layer_has_a_panel_with_every_run(parsed: Callable[..., Tags]) -> None:
    _, (traces, layout) = figures(parsed(**BOTH))
    assert [note["text"] for note in layout["annotations"]] == [*LAYERS[:2], "blocks.&lt;b&gt;.bold"]
    assert [trace["y"] for trace in traces if trace["xaxis"] == "x2"] == [
        [norm + step + 1 for step in range(20, 101, 20)] for norm in (8.0, 16.0)
    ]


def test_the_table_and_the_configurations_are_on_the_page(parsed: Callable[..., Tags]) -> None:
    tags = parsed(**BOTH)
    assert tags.cells[: len(HEADER)] == list(HEADER)
    rows = [tags.cells[start : start + len(HEADER)] for start in (len(HEADER), 2 * len(HEADER))]
    assert [row[:4] for row in rows] == [["Scion", "1", "3.0000", "108.00"], ["ScionC", "1", "3.0000", "116.00"]]
    assert tags.text.count("optimizer: scion\n") == tags.text.count("optimizer: scionc\n") == 1
    assert "Scion · ScionC" in tags.text


def test_names_are_text_and_no_markup(tmp_path: Path, parsed: Callable[..., Tags]) -> None:
    plain = parsed(**BOTH)
    hostile = "<script>alert(1)<i onload=x>&amp;'\""
    tags = parsed(**BOTH, **{hostile: {"optimizer": "<b>mine</b>"}})
    count = {tag: [one for one, _ in tags.tags].count(tag) for tag in ("script", "i", "b")}
    assert count == {"script": len([one for one, _ in plain.tags if one == "script"]), "i": 0, "b": 0}
    assert hostile in tags.text
    assert "<b>mine</b>" in tags.text
    assert "<i>data</i>" in tags.text
    (traces, _), _ = figures(tags)
    names = {trace["name"] for trace in traces}
    assert "&lt;script&gt;alert(1)&lt;i onload=x&gt;&amp;amp;&#x27;&quot;" in names


def test_a_run_cut_short_is_shown_as_far_as_it_went(parsed: Callable[..., Tags]) -> None:
    cut = {"optimizer": "scion", "until": 30, "validations": (25,)}
    (traces, _), _ = figures(parsed(**{"scion-seed0": cut, "scionc-seed0": BOTH["scionc-seed0"]}))
    assert {trace["name"]: len(trace["x"]) for trace in traces if trace["xaxis"] == "x3"} == {
        "scion-seed0": 30,
        "scion-seed0: predicted": 30,
        "scionc-seed0": 100,
        "scionc-seed0: predicted": 100,
    }


def test_a_run_without_an_evaluation_is_drawn_and_named(parsed: Callable[..., Tags]) -> None:
    cut = {"optimizer": "scion", "until": 30, "validations": ()}
    tags = parsed(**{"scion-seed0": cut, "scionc-seed0": {"optimizer": "scionc"}})
    assert "not evaluated yet: scion-seed0." in tags.text
    assert [cell for cell in tags.cells if cell in ("Scion", "ScionC")] == ["ScionC"]
    (traces, _), _ = figures(tags)
    assert max(len(trace["x"]) for trace in traces if trace["name"] == "scion-seed0") == 30


def test_a_folder_without_runs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no \*/run\.jsonl"):
        write_report(tmp_path, tmp_path / "report.html")
