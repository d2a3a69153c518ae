"""docs/benchmarks.md."""

import re
from dataclasses import replace
from pathlib import Path

from bench_results import OURS, SLOW, result

from steadydecay.bench.result_page import INTRODUCTION, page_of
from steadydecay.bench.results import read_result
from steadydecay.bench.shape_sets import SHAPE_SETS

ROOT = Path(__file__).parents[2]
CUDA = {"type": "cuda", "name": "Big GPU", "cuda": "13"}


def test_the_committed_page_is_made_of_the_committed_results() -> None:
    results = [read_result(path) for path in sorted((ROOT / "benchmarks" / "results").glob("step_*.json"))]
    assert results
    assert (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8") == page_of(results)


def test_committed_results_are_of_known_sets_and_have_no_fault_of_ours() -> None:
    for path in sorted((ROOT / "benchmarks" / "results").glob("step_*.json")):
        found = read_result(path)
        assert found.shape_set in SHAPE_SETS
        assert [row.name for row in found.rows if row.faults and row.name.startswith("scionc")] == []


def test_a_section_has_the_run_its_rows_and_notes() -> None:
    page = page_of([result()])
    assert page.startswith(INTRODUCTION)
    _, section, missing = re.split(r"^## ", page, flags=re.MULTILINE)
    assert (
        section
        == """\
gpt-mini, Some CPU, 2 threads, fast bfloat16

0.0 million parameters, 8 GFLOP in the plain form, 5 at least in float32, 7 at least in bfloat16.

- `steadydecay bench --set gpt-mini`, 2026-11-22: 1000 in float32, 2000 in bfloat16 GFLOP/s, floors 4 and 4 ms; \
steadydecay 0.1, torch 2.13.

| optimizer | step, ms | ÷ scionc | ÷ plain floor | ÷ least floor | state, B | extra, B | polar error | calls |
|---|---|---|---|---|---|---|---|---|
| adam | 1.10 (1.05–1.15) | 0.10 | – | – | 4.00 | 0.30 | – | 17 |
| scionc | 11.0 (10.5–11.5) | 1.00 | 2.75 | 3.14 | 4.00 | 0.30 | 0.09 / 0.31 | 17 |
| peer-muon | 22.0 (21.0–26.0) | 2.00 | 5.50 | 6.29 | 5.25 | 0.30 | 0.09 / 0.31 | 17 |

- peer-muon: does less.
- dion-muon is not measured: ModuleNotFoundError: No module named 'dion'.

"""
    )
    assert missing == "Not measured\n\n`gpt2-small`, `gpt2-xl`, `vit-s16`, `llama-1b`, any GPU\n"


def test_runs_of_one_set_on_one_device_share_a_table_with_the_first_runs_reference() -> None:
    peer = replace(SLOW, name="dion-muon", faults=[])
    later = result(rows=[replace(OURS, calls=99), peer], missing={}, command="steadydecay bench --only dion-muon")
    page = page_of([result(), later])
    assert page.count("## gpt-mini") == 1
    assert page.count("| scionc |") == 1
    assert "| 99 |" not in page
    assert "| dion-muon | 22.0" in page
    assert "dion-muon is not measured" not in page
    assert "steadydecay bench --only dion-muon" in page


def test_devices_cuts_and_sets_have_sections_of_their_own_in_the_order_of_the_sets() -> None:
    results = [result(shape_set="llama-1b", layers=2, all_layers=16), result(device=CUDA), result()]
    headings = re.findall(r"^## (.*)$", page_of(results), flags=re.MULTILINE)
    assert headings == [
        "gpt-mini, GPU Big GPU",
        "gpt-mini, Some CPU, 2 threads, fast bfloat16",
        "llama-1b cut to 2 of 16 layers, Some CPU, 2 threads, fast bfloat16",
        "Not measured",
    ]
    assert "any GPU" not in page_of(results)


def test_slow_bfloat16_is_said() -> None:
    slow = {"type": "cpu", "name": "Old", "threads": 4, "has_fast_bfloat16": False}
    assert "## gpt-mini, Old, 4 threads, slow bfloat16" in page_of([result(device=slow)])


def test_nothing_is_not_measured_when_every_set_is_on_a_gpu() -> None:
    assert page_of([result(shape_set=name, device=CUDA) for name in SHAPE_SETS]).endswith("## Not measured\n\n–\n")
