"""Results made up for tests."""

from dataclasses import replace
from typing import Any

from steadydecay.bench.results import Result, Row

OURS = Row(
    name="scionc",
    times=[0.010, 0.012, 0.011],
    reference_times=[0.010, 0.012, 0.011],
    state_bytes=4000,
    extra_bytes=300,
    calls=17,
    polar_errors=[0.0881, 0.309],
    singular_values=[0.9, 1.1],
    faults=[],
)
SLOW = replace(OURS, name="peer-muon", times=[0.020, 0.030, 0.022], state_bytes=5250, faults=["does less"])
ADAM = replace(OURS, name="adam", times=[0.001, 0.0012, 0.0011], polar_errors=[], singular_values=[])


def result(**changes: Any) -> Result:
    found = Result(
        shape_set="gpt-mini",
        layers=6,
        all_layers=6,
        parameters=1000,
        plain_work=8_000_000_000,
        least_work={"float32": 5_000_000_000, "bfloat16": 7_000_000_000},
        rates={"float32": [0.9e12, 1.1e12, 1.0e12], "bfloat16": [2e12, 2e12, 2.1e12]},
        rows=[OURS, SLOW, ADAM],
        missing={"dion-muon": "ModuleNotFoundError: No module named 'dion'"},
        device={"type": "cpu", "name": "Some CPU", "threads": 2, "has_fast_bfloat16": True},
        versions={"torch": "2.13", "steadydecay": "0.1"},
        date="2026-11-22",
        command="steadydecay bench --set gpt-mini",
    )
    return replace(found, **changes)
