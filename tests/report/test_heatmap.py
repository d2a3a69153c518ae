"""Heat maps: layers by time, the furthest value in each cell."""

import math
from pathlib import Path

import numpy as np
import pytest

from report_logs import write_run
from steadydecay.report.heatmap import HeatMap, heat_map_of, shortened
from steadydecay.report.runs import load_run
from steadydecay.run_log.writer import RunLog


def map_of(tmp_path: Path, ratios: dict[str, list[float]], columns: int = 20) -> HeatMap | None:
    """Records at steps 10, 20, ..."""
    path = tmp_path / "run.jsonl"
    with RunLog.open(path, configuration={}, resume_step=None) as log:
        for index in range(max(map(len, ratios.values()), default=0)):
            layers = {name: {"norm_ratio": of[index]} for name, of in ratios.items() if index < len(of)}
            log.write("watch", step=10 * (index + 1), layers=layers)
    return heat_map_of(load_run(path, "run"), columns)


def test_a_cell_is_the_value_furthest_from_one_by_ratio(tmp_path: Path) -> None:
    found = map_of(tmp_path, {"a": [1.0, 1.4, 0.6, 1.0], "b": [0.9, 1.0, 1.05, 1.2]}, columns=2)
    assert found is not None
    assert found.names == ("a", "b")
    assert found.edges.tolist() == [0, 20, 40]
    assert found.ratios.tolist() == [[1.4, 0.6], [0.9, 1.2]]
    assert found.final.tolist() == [1.0, 1.2]
    halved = map_of(tmp_path, {"a": [1.9, 0.5]}, columns=1)
    assert halved is not None and halved.ratios.tolist() == [[0.5]], "one half is further than 1.9"


def test_a_layer_without_a_record_in_a_stretch_has_an_empty_cell(tmp_path: Path) -> None:
    found = map_of(tmp_path, {"late": [math.nan, math.inf, 0.0, 2.0], "all": [1.0] * 4}, columns=4)
    assert found is not None
    assert np.isnan(found.ratios[0]).tolist() == [True, True, True, False]
    assert found.left_out == ()


def test_layers_without_any_prediction_are_named_apart(tmp_path: Path) -> None:
    found = map_of(tmp_path, {"gain": [0.0, math.nan], "a": [1.0, 1.0]})
    assert found is not None and found.names == ("a",) and found.left_out == ("gain",)
    assert map_of(tmp_path, {"gain": [math.nan]}) is None


def test_no_more_columns_than_records(tmp_path: Path) -> None:
    found = map_of(tmp_path, {"a": [1.0, 2.0, 3.0]})
    assert found is not None and found.ratios.tolist() == [[1.0, 2.0, 3.0]]


def test_a_log_without_the_monitor_has_none(tmp_path: Path) -> None:
    assert heat_map_of(load_run(write_run(tmp_path, watch_every=0), "run")) is None


@pytest.mark.parametrize("longest", [5, 8, 26])
def test_long_names_keep_both_ends(longest: int) -> None:
    name = "transformer.blocks.11.attention.output.bias"
    short = shortened(name, longest)
    assert len(short) == longest and short.count("…") == 1
    head, tail = short.split("…")
    assert name.startswith(head) and name.endswith(tail) and len(head) >= 2 and len(tail) >= 2
    assert shortened("short", longest) == "short"
