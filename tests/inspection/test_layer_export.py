"""JSON, CSV and HTML of the same layers."""

import csv
import io
import json
import math
from html.parser import HTMLParser
from pathlib import Path

from steadydecay.inspection.inspected import Inspection
from steadydecay.inspection.inspected_layers import Layer
from steadydecay.inspection.layer_export import as_csv, as_html, as_json
from steadydecay.inspection.layer_settings import LayerSettings
from steadydecay.inspection.stored_weight import StoredWeight
from steadydecay.inspection.weight_measures import Measures
from steadydecay.known_optimizers.table import ADAMW

EVIL = '<script>alert("&")</script>,=1'


def layer(name: str, norm: float, *, is_decayed: bool = True) -> Layer:
    weight = StoredWeight(name, (2, 2), "bfloat16", ("tied",))
    settings = LayerSettings(ADAMW, {"lr": 1.0, "weight_decay": 0.5 if is_decayed else 0.0, "role": "hidden"})
    settings = settings if is_decayed else LayerSettings(ADAMW, {"lr": 1.0}, refusal="no decay")
    measures = Measures(norm / 2, norm, (norm, math.nan) if name == EVIL else (norm,), int(math.isnan(norm)))
    return Layer(weight, name, "hidden", measures, settings)


LAYERS = [layer("a.weight", 2.0), layer(EVIL, math.nan), layer("b.weight", 1.0, is_decayed=False)]
INSPECTION = Inspection(Path("run/<b>.json"), (Path("run/<b>.pt"), Path("two")), LAYERS, 2, 7, ())


def test_json_holds_every_digit_and_null_for_what_is_not_a_number() -> None:
    found = json.loads(as_json(INSPECTION, LAYERS, 0.2), parse_constant=lambda name: 1 / 0)
    assert found["files"] == ["run/<b>.pt", "two"]
    assert (found["steps"], found["tolerance"]) == (7, 0.2)
    assert found["settings"][0].startswith("AdamW hidden: lr 1, decay 0.5 per step, memory 1 steps")
    first, broken, undecayed = found["layers"]
    expected = math.sqrt(4 / 0.75)
    assert first.pop("predicted_norm") == expected and first.pop("ratio") == 2.0 / expected
    assert first.pop("predicted_rms") == expected / 2
    assert first.pop("settings") == LAYERS[0].settings.text if LAYERS[0].settings else False
    assert first == {
        "name": "a.weight",
        "tied": ["tied"],
        "shape": [2, 2],
        "dtype": "bfloat16",
        "role": "hidden",
        "rms": 1.0,
        "norm": 2.0,
        "spectral_norms": [2.0],
        "is_far": False,
        "non_finite": 0,
    }
    assert (broken["norm"], broken["spectral_norms"], broken["non_finite"]) == (None, [None, None], 1)
    assert broken["is_far"] and broken["ratio"] is None
    assert undecayed["predicted_norm"] is None and undecayed["settings"] == "AdamW: no prediction, no decay"
    assert any("Tied weights" in note for note in found["notes"])


def test_csv_has_a_line_for_each_layer() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(LAYERS, 0.2))))
    assert [row["name"] for row in rows] == ["a.weight", EVIL, "b.weight"]
    assert (rows[0]["shape"], rows[0]["norm"], rows[0]["is_far"]) == ("2 2", "2.0", "False")
    assert float(rows[0]["ratio"]) == 2.0 / math.sqrt(4 / 0.75)
    assert rows[2]["predicted_norm"] == ""


class Page(HTMLParser):
    """Rows of cells, and every tag and attribute of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "wbr":
            return
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.rows and self.rows[-1] and self.tags[-1] in ("td", "th"):
            self.rows[-1][-1] += data.removesuffix("\n")


def test_the_page_holds_the_table_and_nothing_from_elsewhere() -> None:
    page = Page(as_html(INSPECTION, LAYERS, 0.2))
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert not {"src", "href", "onload"} & set(page.attributes)
    header, first, broken, undecayed = page.rows
    assert len(header) == len(first) == len(broken) == len(undecayed) == 10
    assert first == ["a", "2×2", "hidden", "1.00", "1.15", "2.00", "2.31", "2.00", "0.866", ""]
    assert broken[0] == EVIL and broken[-1] == "!" and broken[3] == "–"
    assert undecayed[4] == "–"
    assert (
        "run/<b>.json (2 shards): 3 weights, 12 entries, after 7 steps" in page.text
        and "AdamW hidden: lr 1" in page.text
    )
