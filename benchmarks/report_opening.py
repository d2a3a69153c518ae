"""How long the report of 10 runs × 10 000 steps × 100 layers takes to build, and to open in a real browser.

python benchmarks/report_opening.py       # writes 600 MB of synthetic logs to a temporary folder; needs chromium
"""

import shutil
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from steadydecay.report.report_page import write_report

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import report_logs

RUNS, STEPS, LAYERS = 10, 10_000, 100
REPEATS = 3


def write_logs(folder: Path) -> None:
    layers = [f"blocks.{index // 4}.{('qkv', 'projection', 'up', 'down')[index % 4]}.weight" for index in range(LAYERS)]
    for run in range(RUNS):
        optimizer = ("scion", "scionc")[run % 2]
        out = folder / f"{optimizer}-seed{run // 2}"
        report_logs.write_run(out, optimizer, seed=run // 2, steps=STEPS, watch_every=10, layers=layers)


def seconds_until(page: Page, condition: str, began: float) -> float:
    # The page's policy forbids eval, which wait_for_function needs.
    while not page.evaluate(condition):
        time.sleep(0.02)
    return time.perf_counter() - began


def main() -> None:
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder, report = Path(name), Path(name) / "report.html"
        write_logs(folder)
        began = time.perf_counter()
        write_report(folder, report)
        print(f"built in {time.perf_counter() - began:.1f} s, {report.stat().st_size / 1e6:.1f} MB")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for _ in range(REPEATS):
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            began = time.perf_counter()
            page.goto(report.as_uri())
            loaded = time.perf_counter() - began
            first = seconds_until(page, "document.querySelectorAll('.main-svg').length > 0", began)
            every = seconds_until(page, "document.documentElement.dataset.drawn === 'all'", began)
            print(f"loaded after {loaded:.2f} s, first picture {first:.2f} s, all pictures {every:.2f} s")
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
