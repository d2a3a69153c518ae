"""The table of versions says what ran, what was not available, and what nobody has run."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_page_shows_the_results_and_says_what_was_not_run() -> None:
    script = runpy.run_path(str(ROOT / "benchmarks/versions.py"))
    page = script["page"]({"2.9 3.12": "9 passed (torch 2.9.1, Python 3.12.1)"})
    assert "| 2.9 | 3.12 | 9 passed (torch 2.9.1, Python 3.12.1) |" in page
    assert page.count("| not run |") == len(script["PAIRS"]) - 1


def test_the_tests_that_it_runs_and_leaves_out_exist() -> None:
    script = runpy.run_path(str(ROOT / "benchmarks/versions.py"))
    for name in (*script["TESTS"], script["NEEDS_TIMM"]):
        file, _, function = name.partition("::")
        assert f"def {function}" in (ROOT / file).read_text(encoding="utf-8"), name
    assert script["NEEDS_TIMM"].partition("::")[0] in script["TESTS"]


def test_why_a_pair_is_not_available_is_one_line_that_fits_a_table() -> None:
    script = runpy.run_path(str(ROOT / "benchmarks/versions.py"))
    assert script["reason"]("  × No solution found\n  ╰─▶ Because torch==2.9 | has no wheels.\n").startswith(
        "Because torch"
    )
