"""The report of a sweep in real Chromium: drawn, readable on a phone, and deaf to hostile values."""

import itertools
from pathlib import Path

import pytest
from playwright.sync_api import expect

from browser import OpenPage, Size, horizontal_overflow
from report_logs import IMAGE
from steadydecay.sweeps.sweep_page import write_sweep_page
from steadydecay.sweeps.sweep_report import sweep_report
from sweep_rows import row

DRAWN = "html[data-drawn=all]"


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two optimizers over a grid of 3 × 2 with two seeds; one trial diverged, and one value is markup."""
    trials = [
        row({"optimizer": name, "data": data, "lr": lr}, seed, len(name) + float(lr) + seed / 10)
        for name, data, lr, seed in itertools.product(("scion", "scionc"), ("a", IMAGE), ("0.1", "0.2", "0.4"), (0, 1))
    ]
    trials += [row({"optimizer": "scion", "data": "a", "lr": "9"}, 0, status="diverged", message=IMAGE)]
    folder = tmp_path_factory.mktemp("sweep")
    return write_sweep_page(sweep_report(IMAGE, trials), folder / "below" / "report.html")


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_the_maps_are_drawn_with_their_numbers(open_page: OpenPage, page_file: Path, size: Size) -> None:
    page = open_page(page_file, size)
    page.wait_for_selector(DRAWN)
    assert horizontal_overflow(page) <= 0
    assert page.locator(".plot .main-svg").count() >= 2
    texts = page.locator("#plot-map-0 .hm text").all_text_contents()
    assert len(texts) == 6 and "★ 5.1500± 0.0707" in texts
    expect(page.locator("#plot-map-0 .annotation-text")).to_have_text("1 diverged")


def test_the_page_says_what_is_best_and_what_did_not_finish_and_runs_no_markup(
    open_page: OpenPage, page_file: Path
) -> None:
    page = open_page(page_file, "desktop")
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    page.wait_for_selector(DRAWN)
    assert dialogs == [] and page.locator("img").count() == 0
    expect(page.locator("h1")).to_have_text(f"Sweep {IMAGE}")
    expect(page.locator("#short")).to_contain_text("The best setting is optimizer=scion data=a lr=0.1")
    expect(page.locator("#unfinished")).to_contain_text(IMAGE)
    assert page.locator("#settings tbody tr").count() == 13
    labels = page.locator("#plot-map-0 .ytick text").all_text_contents()
    assert IMAGE in labels
