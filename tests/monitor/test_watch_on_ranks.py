"""Two real processes under gloo measure what one does: DDP, FSDP2, and weights cut in other ways."""

import json
from typing import Any

import pytest
from watched_training import main

from forked import on_ranks
from steadydecay.tensors.spectral_norm import COLD_ITERATIONS, WARM_ITERATIONS


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Records and collectives by mode; "one" is a process alone."""
    out = tmp_path_factory.mktemp("ranks") / "out.json"
    on_ranks(2, main, out)
    return json.loads(out.read_text())


@pytest.mark.parametrize("mode", ["ddp", "fsdp", "layouts", "meshes"])
def test_two_processes_measure_the_same(mode: str, measured: dict[str, Any]) -> None:
    one, two = measured["one"], measured[mode]
    assert len(two["records"]) == len(one["records"]) == 3
    for record, expected in zip(two["records"], one["records"], strict=True):
        assert record["verdicts"] == expected["verdicts"]
        for kind in ("layers", "groups"):
            assert list(record[kind]) == list(expected[kind])
            for name, measures in expected[kind].items():
                assert record[kind][name] == pytest.approx(measures, rel=2e-4, abs=1e-6), (mode, name)
    # One collective for each product with the weights, the last of which takes the sums along. A group of one rank has
    # none.
    cold, warm = (0 if mode == "ddp" else iterations for iterations in (COLD_ITERATIONS, WARM_ITERATIONS))
    assert two["collectives"] == [0, cold, 0, warm, 0, warm]


def test_the_comparison_covers_every_kind_of_measure(measured: dict[str, Any]) -> None:
    last = measured["one"]["records"][-1]
    stacked = {"spectral_norm", "tuc", "momentum_norm", "drift", "predicted_norm_measured", "rotation"}
    assert stacked <= set(last["layers"]["stacked"])
    assert "sign_norm" in last["layers"]["head.weight"] and "tuc" not in last["layers"]["unused.weight"]
