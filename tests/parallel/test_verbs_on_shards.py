"""Four real processes with weights laid over them in many ways do what one does with whole weights, in float64."""

from pathlib import Path
from typing import Any

import pytest
from layouts import LAYOUTS, RANKS

from torchrun import on_ranks

PROGRAM = Path(__file__).with_name("verbs_on_shards.py")
# Dimensions of a mesh that cut a weight, each of which is a process group.
GROUPS = {"rows": 1, "columns": 1, "hsdp": 1}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """By rank: what each case has found."""
    out = tmp_path_factory.mktemp("shards") / "out.json"
    return on_ranks(PROGRAM, out, ranks=RANKS, timeout=240)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("rule", ["hyperball", "cautious"])
def test_the_rivals_of_corrected_decay(rule: str, layout: str, found: list[dict[str, Any]]) -> None:
    for of_rank in found:
        of_layout = of_rank["rules"][rule][layout]
        assert of_layout["difference"] < 1e-13
        assert of_layout["collectives"] == [GROUPS.get(layout, 2)] * 3
        for norms, expected in of_layout["norms"]:
            assert norms is expected is None or list(map(pytest.approx, expected)) == norms


@pytest.mark.parametrize("layout", [*LAYOUTS, "replicas"])
def test_every_measure(layout: str, found: list[dict[str, Any]]) -> None:
    for of_rank in found:
        difference, where = of_rank["watch"][layout]["worst"]
        assert difference < 2e-5, where
        # torch's sum over ranks may differ between them by a rounding.
        for name, measures in of_rank["watch"][layout]["records"].items():
            assert measures == pytest.approx(found[0]["watch"][layout]["records"][name], rel=1e-12, abs=1e-12)
