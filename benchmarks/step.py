"""Write docs/benchmarks.md from the committed results of `steadydecay bench`.

steadydecay bench --set gpt2-small --out benchmarks/results/step_gpt2-small.json   # a result
python benchmarks/step.py                                                          # the page
"""

from pathlib import Path

from steadydecay.bench.result_page import page_of
from steadydecay.bench.results import read_result

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"


def page(results: Path = RESULTS) -> str:
    return page_of([read_result(path) for path in sorted(results.glob("step_*.json"))])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
