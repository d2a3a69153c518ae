"""docs/versions.md is what benchmarks/versions.py makes of its results."""

import json
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_page_shows_the_results_and_says_what_was_not_run() -> None:
    script = runpy.run_path(str(ROOT / "benchmarks/versions.py"))
    results = json.loads((ROOT / "benchmarks/results/versions.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs/versions.md").read_text(encoding="utf-8")
    assert page == script["page"](results)
    tested = {pair.split()[0] for pair, result in results.items() if " passed" in result and "failed" not in result}
    assert len(tested) >= 2, "at least two versions of torch really run"
    assert page.count("| not run |") == len(script["PAIRS"]) - len(results)


def test_the_tests_that_it_runs_exist() -> None:
    script = runpy.run_path(str(ROOT / "benchmarks/versions.py"))
    assert not [name for name in script["TESTS"] if not (ROOT / name).exists()]
    assert script["reason"]("  × No solution found\n  ╰─▶ Because torch==2.9 | has no wheels.\n").startswith(
        "Because torch"
    )
