"""The page: one file that needs no network, shows every run, and takes names as text."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from report_logs import IMAGE, LAYERS, write_run
from steadydecay.report.report_page import content_of, page_of, write_page, write_report
from steadydecay.report.runs import load_all


class Tags(HTMLParser):
    """Start tags with their attributes, scripts, and the text outside them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.cells: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] += data
        else:
            self.text += data
        if self.tags and self.tags[-1][0] in ("td", "th") and data.strip():
            self.cells.append(data)

    def ids(self) -> list[str]:
        return [identifier for _, attributes in self.tags if (identifier := attributes.get("id"))]

    def figures(self) -> dict[str, dict[str, Any]]:
        """Figures by the id of their place."""
        specifications = [json.loads(script) for script in self.scripts if script.startswith('{"data"')]
        return dict(zip([one for one in self.ids() if one.startswith("plot-")], specifications, strict=True))


Parse = Callable[..., Tags]


@pytest.fixture
def parsed(tmp_path: Path) -> Parse:
    def write_and_parse(**runs: dict[str, Any]) -> Tags:
        for name, given in runs.items():
            write_run(tmp_path / name, **given)
        path = write_report(tmp_path, tmp_path / "report.html")
        assert path == tmp_path / "report.html"
        tags = Tags()
        tags.feed(path.read_text(encoding="utf-8"))
        return tags

    return write_and_parse


BOTH = {"scion-seed0": {"optimizer": "scion"}, "scionc-seed0": {"optimizer": "scionc"}}


def test_the_page_needs_nothing_beside_itself(parsed: Parse) -> None:
    tags = parsed(**BOTH)
    fetching = {"src", "href", "srcset", "data", "poster", "background", "action"}
    found = [attributes[name] for _, attributes in tags.tags for name in fetching & attributes.keys()]
    assert all(link is not None and link.removeprefix("#") in tags.ids() for link in found), "links within the page"
    assert not {"link", "iframe", "img", "base", "object", "embed"} & {tag for tag, _ in tags.tags}
    assert not re.search(r"@import|url\(|https?:", tags.text), "style sheets included"
    assert sum(len(script) > 1_000_000 for script in tags.scripts) == 1, "plotly.js, once"


def test_only_the_page_s_own_scripts_may_run_and_nothing_may_be_fetched(parsed: Parse) -> None:
    tags = parsed(**BOTH)
    (policy,) = (str(attributes["content"]) for _, attributes in tags.tags if "http-equiv" in attributes)
    assert "default-src 'none'" in policy and "connect-src 'none'" in policy
    scripts = [script for script in tags.scripts if not script.startswith('{"data"')]
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert len(hashes) == 2 and all(f"'sha256-{one}'" in policy for one in hashes)
    (scripts_allowed,) = re.findall(r"script-src ([^;]*);", policy)
    assert len(scripts_allowed.split()) == 2


def test_all_runs_are_in_every_picture_with_the_prediction_beside_the_norm(parsed: Parse) -> None:
    figures = parsed(**BOTH).figures()
    panels = [key for key in figures if "heat" not in key]
    assert panels[:4] == ["plot-loss", "plot-validation", "plot-weight-norm", "plot-gradient-norm"]
    for key in panels:
        names = {trace["name"] for trace in figures[key]["data"]}
        assert names >= {"scion-seed0", "scionc-seed0"}, key
    names = [trace["name"] for trace in figures["plot-weight-norm"]["data"]]
    assert {"scion-seed0: predicted", "scionc-seed0: predicted"} < set(names)
    assert [key for key in figures if "heat" in key] == ["plot-heat-0", "plot-heat-1"]


def test_the_first_thing_on_the_page_is_which_run_is_better(parsed: Parse) -> None:
    text = parsed(scion={"optimizer": "scion", "loss": 1.6}, scionc={"optimizer": "scionc", "loss": 1.5}).text
    short = text.index("ScionC has the lowest validation loss at step 200 (lower is better): 1.5000.")
    assert short < text.index("‖θ‖ end ÷ max") < text.index("is not corrected") < text.index("Training loss")
    assert "ScionC and Scion differ only in the optimizer." in text


def test_the_table_has_mean_and_spread_of_every_variant(parsed: Parse) -> None:
    scion = {f"scion{seed}": {"optimizer": "scion", "seed": seed} for seed in (0, 1)}
    tags = parsed(**scion, cut={"optimizer": "lion", "until": 30})
    head = tags.cells.index("run")
    assert tags.cells[head : head + 5] == ["run", "seeds", "steps", "validation loss", "‖θ‖ max, 2nd half"]
    row = tags.cells.index("Scion")
    assert tags.cells[row : row + 4] == ["Scion", "2", "200", "1.5050 ± 0.0071"]
    cut = tags.cells.index("Lion")
    assert tags.cells[cut : cut + 5] == ["Lion", "1", "30 of 200", "3.3000", "–"]


def test_seeds_that_are_behind_do_not_enter_a_mean(parsed: Parse) -> None:
    tags = parsed(one={"seed": 0}, two={"seed": 1}, three={"seed": 2, "until": 30})
    row = tags.cells.index("ScionC")
    assert tags.cells[row : row + 4] == ["ScionC", "2 of 3", "200", "1.5050 ± 0.0071"]
    assert "three: 30 of 200 steps are done" in tags.text


def test_advice_verdicts_and_settings_are_on_the_page(parsed: Parse) -> None:
    tags = parsed(**BOTH)
    assert "The decay of the hidden layers is not corrected" in tags.text
    assert "sd.correct_weight_decay(optimizer)" in tags.text
    assert "3 falling" in tags.text
    assert tags.cells.count(LAYERS[0]) == 2, "a verdict in each run"
    row = tags.cells.index("optimizer")
    assert tags.cells[row : row + 3] == ["optimizer", "scion", "scionc"], "the setting in which they differ"
    assert "What is missing" not in tags.text


def test_layers_without_decay_are_named(tmp_path: Path) -> None:
    record = '{"kind": "watch", "step": 1, "layers": {"gain": {"norm_ratio": "NaN"}, "a": {"norm_ratio": 1.0}}}'
    (tmp_path / "run.jsonl").write_text(record + "\n")
    content = content_of(*load_all([tmp_path]))
    assert "These layers have no decay, and so no steady norm: gain." in content


def test_names_are_text_and_no_markup(tmp_path: Path, parsed: Parse) -> None:
    plain = parsed(**BOTH)
    hostile = "</script><script>alert(1)</script>&amp;'\"{{ 7 * 7 }}"
    settings = {"data": IMAGE, IMAGE: hostile, hostile: IMAGE}
    given = {"optimizer": hostile, "layers": (hostile, IMAGE), "settings": settings}
    tags = parsed(**BOTH, **{IMAGE: given})
    assert not [tag for tag, attributes in tags.tags if tag == "img" or "onerror" in attributes]
    new_figures = len(tags.figures()) - len(plain.figures())
    assert len(tags.scripts) - len(plain.scripts) == new_figures == 1
    assert IMAGE in tags.text and hostile in tags.text and "49" not in tags.text[: tags.text.index("Runs\n")]


def test_the_names_of_folders_that_were_given_are_text(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    (tmp_path / IMAGE).mkdir()
    path = write_page(*load_all([tmp_path / "run", tmp_path / IMAGE]), tmp_path / "new" / "folder" / "report.html")
    tags = Tags()
    tags.feed(path.read_text(encoding="utf-8"))
    assert f"{IMAGE} does not contain a run.jsonl yet" in tags.text
    assert "img" not in {tag for tag, _ in tags.tags}


@pytest.mark.parametrize("until", [0, 1, 2, 30])
def test_a_run_cut_short_is_shown_as_far_as_it_went(parsed: Parse, until: int) -> None:
    tags = parsed(cut={"optimizer": "scion", "until": until}, whole={"optimizer": "scionc"})
    assert ("cut: The log contains no step." if until == 0 else f"cut: {until} of 200 steps are done") in tags.text
    names = [trace["name"] for trace in tags.figures()["plot-loss"]["data"]]
    assert ("cut" in names) == (until > 0)
    compared = "at step 20 (lower is better)" if until == 30 else "1.5000 at step 200. No other run was evaluated."
    assert compared in tags.text


def test_a_run_alone_that_has_not_begun_is_a_page_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "run.jsonl").write_text("")
    content = content_of(*load_all([tmp_path]))
    assert "The log contains no step" in content and "No step was evaluated in all runs" in content
    assert content.count("No run logged this:") == 11


def test_a_log_of_a_time_without_a_monitor_is_shown_without_heat_maps(parsed: Parse) -> None:
    tags = parsed(run={"watch_every": 0})
    assert list(tags.figures()) == [
        f"plot-{key}" for key in ("loss", "validation", "weight-norm", "gradient-norm", "lr", "decay")
    ]
    assert "and the verdicts are missing" in tags.text and "#layers" not in [a.get("href") for _, a in tags.tags]


def test_a_live_page_may_ask_its_own_server(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    page = page_of(*load_all([tmp_path]), live_version="abc")
    assert "connect-src 'self'" in page and 'data-version="abc"' in page
    assert "data-version" not in page_of(*load_all([tmp_path])).replace("dataset.version", "")


def test_the_page_is_replaced_at_once_and_a_wrong_place_is_an_error(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_page(*load_all([tmp_path / "run"]), tmp_path / "folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "run"]


def test_a_folder_without_runs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"contains no \*/run\.jsonl"):
        write_report(tmp_path, tmp_path / "report.html")


def test_ten_long_runs_of_a_hundred_layers_make_a_small_page(tmp_path: Path) -> None:
    names = tuple(f"transformer.blocks.{index}.attention.output.weight" for index in range(100))
    for seed in range(10):
        write_run(tmp_path / f"scionc-seed{seed}", seed=seed, steps=2000, watch_every=100, layers=names)
    content = content_of(*load_all([tmp_path]))
    assert len(content) < 3_000_000
    spike = '{"kind": "step", "step": 2001, "loss": 1e6}\n'
    with (tmp_path / "scionc-seed0" / "run.jsonl").open("a") as log:
        log.write(spike)
    tags = Tags()
    tags.feed(content_of(*load_all([tmp_path])))
    losses = tags.figures()["plot-loss"]["data"]
    assert len(losses) == 20
    raw = next(trace for trace in losses if trace["name"] == "scionc-seed0: each step")
    values = base64.b64decode(raw["y"]["bdata"])
    assert len(values) <= 4 * 400 and base64.b64decode(raw["x"]["bdata"])
