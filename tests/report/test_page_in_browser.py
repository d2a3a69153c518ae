"""The page in real Chromium: drawn, readable on a phone, deaf to hostile names, alive while training goes on."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from browser import OpenPage, Size, horizontal_overflow
from report_logs import IMAGE, write_run
from steadydecay.report.follow import LiveReport, server_for
from steadydecay.report.report_page import write_page
from steadydecay.report.runs import load_all

# The page's policy forbids evaluation of strings, so tests wait for selectors.
DRAWN = "html[data-drawn=all]"
EMPTY_PLOTS = """[...document.querySelectorAll('.plot')].filter(
    plot => !plot.closest('details:not([open])') && !plot.querySelector('.main-svg'))"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six optimizers, one cut short, one whose every name is markup."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("scionc", "scion", "adamw", "muon"):
        write_run(folder / f"{name}-seed0", name, steps=100)
    write_run(folder / "cut", "lion", steps=100, until=33)
    write_run(folder / IMAGE, IMAGE, steps=100, layers=(IMAGE, "b" * 80, "%{x}"), settings={"data": IMAGE, IMAGE: "x"})
    return write_page(*load_all([folder]), folder / "report.html")


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_every_picture_is_drawn_within_the_width_of_the_window(open_page: OpenPage, report: Path, size: Size) -> None:
    page = open_page(report, size)
    page.wait_for_selector(DRAWN)
    assert horizontal_overflow(page) <= 0
    assert page.evaluate(f"{EMPTY_PLOTS}.length") == 0
    assert page.locator(".plot .main-svg").count() > 11
    width = 1280 if size == "desktop" else 390
    boxes = page.evaluate(
        "[...document.querySelectorAll('.plot')].map(p => p.getBoundingClientRect()).map(b => [b.left, b.right])"
    )
    assert all(left >= 0 and right <= width for left, right in boxes)
    columns = {left for left, _ in boxes[:4]}
    assert len(columns) == (2 if size == "desktop" else 1)


def test_nothing_is_fetched(chromium: Browser, report: Path) -> None:
    page = chromium.new_page()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(report.as_uri())
    page.wait_for_selector(DRAWN)
    assert requests == [report.as_uri()]
    page.close()


def test_names_that_are_markup_are_shown_and_never_run(open_page: OpenPage, report: Path) -> None:
    page = open_page(report, "desktop")
    # An alert would block the page, and be dismissed with a note on this list.
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    page.wait_for_selector(DRAWN)
    assert dialogs == []
    assert page.locator("img").count() == 0
    expect(page.locator("h1")).to_contain_text(IMAGE)
    expect(page.locator("#advice")).to_contain_text(IMAGE)
    assert page.evaluate("document.querySelector('#plot-loss').data.some(trace => trace.name.includes('<'))") is False
    folded = page.locator("details", has_text="b" * 80)
    assert folded.count() == 1


def test_lines_have_labels_and_cells_have_numbers(open_page: OpenPage, report: Path) -> None:
    page = open_page(report, "desktop")
    page.wait_for_selector(DRAWN)
    labels = page.locator("#plot-weight-norm .annotation-text").all_text_contents()
    assert {"● ScionC", "■ Scion", "▲ AdamW"} <= set(labels)
    numbers = page.locator("#plot-heat-1 .hm text").all_text_contents()
    assert len(numbers) == 30 and all(float(number) > 0 for number in numbers), "3 layers, 10 records"


def test_a_phone_shows_the_last_ratio_beside_each_layer_and_scrolls_under_a_finger(
    open_page: OpenPage, report: Path
) -> None:
    page = open_page(report, "phone")
    page.wait_for_selector(DRAWN)
    assert page.locator("#plot-heat-1 .hm text").count() == 0, "too small to read"
    labels = page.locator("#plot-heat-1 .ytick text").all_text_contents()
    assert len(labels) == 3 and all(float(label.split()[-1]) > 0 for label in labels)
    assert page.evaluate("document.querySelector('#plot-loss')._fullLayout.dragmode") is False


def test_a_folded_heat_map_is_drawn_when_it_is_opened(open_page: OpenPage, report: Path) -> None:
    page = open_page(report, "desktop")
    page.wait_for_selector(DRAWN)
    folded = page.locator("#heat-5")
    assert folded.get_attribute("open") is None
    assert folded.locator(".main-svg").count() == 0
    folded.locator("summary").click()
    expect(folded.locator(".main-svg").first).to_be_visible()


def test_a_dark_page_has_light_pictures_text(chromium: Browser, report: Path) -> None:
    colours = {}
    for scheme in ("light", "dark"):
        page = chromium.new_page(color_scheme=scheme)
        page.goto(report.as_uri())
        page.wait_for_selector(DRAWN)
        colours[scheme] = page.evaluate("document.querySelector('#plot-loss')._fullLayout.font.color")
        assert colours[scheme] == page.evaluate(
            "getComputedStyle(document.documentElement).getPropertyValue('--ink').trim()"
        )
        page.close()
    assert colours["light"] != colours["dark"]


@pytest.mark.parametrize("lines", ["", "Traceback\n", '{"kind": "configuration", "steps": 9}\n{"kind": "st'])
def test_a_log_with_nothing_to_draw_is_a_page_without_errors(open_page: OpenPage, tmp_path: Path, lines: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.jsonl").write_text(lines)
    page = open_page(write_page(*load_all([tmp_path]), tmp_path / "report.html"), "phone")
    page.wait_for_selector(DRAWN)
    expect(page.locator("#gaps")).to_contain_text("The log contains no step")
    assert horizontal_overflow(page) <= 0


# The live view


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Of a live view of `tmp_path`, where one run is at step 40 of 100."""
    write_run(tmp_path / "run", steps=100, until=40)
    server = server_for(LiveReport([tmp_path]), 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def zoom(page: Page) -> list[float]:
    return page.evaluate("document.querySelector('#plot-loss')._fullLayout.xaxis.range")


def drag_over(page: Page, selector: str) -> None:
    """Zoom into the middle of a picture as a hand does; what a script does would not count as the user's zoom."""
    page.locator(selector).scroll_into_view_if_needed()
    box = page.locator(selector).bounding_box()
    assert box is not None
    x, y = box["x"], box["y"] + box["height"] / 2
    page.mouse.move(x + 0.3 * box["width"], y)
    page.mouse.down()
    page.mouse.move(x + 0.6 * box["width"], y, steps=4)
    page.mouse.up()
    page.wait_for_timeout(500)


def test_the_live_page_follows_the_run_and_keeps_place_and_zoom(
    open_page: OpenPage, address: str, tmp_path: Path
) -> None:
    page = open_page(address, "desktop")
    page.wait_for_selector(DRAWN)
    expect(page.locator("#runs")).to_contain_text("40 of 100")
    drag_over(page, "#plot-loss .nsewdrag")
    zoomed = zoom(page)
    assert zoomed[0] > 5 and zoomed[1] < 35
    page.evaluate("document.querySelector('#words').scrollIntoView()")
    scrolled = page.evaluate("scrollY")
    assert scrolled > 1000
    write_run(tmp_path / "run", steps=100, until=60)
    expect(page.locator("#runs")).to_contain_text("60 of 100", timeout=30_000)
    assert page.evaluate("document.querySelector('#plot-weight-norm')._fullData.at(-1).x.at(-1)") == 60
    assert zoom(page) == zoomed
    assert abs(page.evaluate("scrollY") - scrolled) < 200
    write_run(tmp_path / "second", "adamw", steps=100, until=20)
    expect(page.locator("h1")).to_contain_text("AdamW", timeout=30_000)
    assert page.locator("#plot-loss .annotation-text").count() == 2
    expect(page.locator("#live")).to_contain_text("Live. Last updated at")


def test_the_live_page_says_so_when_its_log_or_its_server_is_gone(
    open_page: OpenPage, address: str, tmp_path: Path, page_errors: list[str]
) -> None:
    page = open_page(address, "phone")
    page.wait_for_selector(DRAWN)
    log = tmp_path / "run" / "run.jsonl"
    content = log.read_bytes()
    log.unlink()
    expect(page.locator("#live")).to_contain_text("Updates are interrupted: no run was found", timeout=30_000)
    log.write_bytes(content)
    expect(page.locator("#live")).to_contain_text("Live. Last updated at", timeout=30_000)
    assert page_errors and all("503" in error for error in page_errors)
    page_errors.clear()


def test_ten_long_runs_of_a_hundred_layers_open(open_page: OpenPage, tmp_path: Path) -> None:
    names = tuple(f"transformer.blocks.{index}.attention.output.weight" for index in range(100))
    for seed in range(10):
        write_run(tmp_path / f"scionc-seed{seed}", seed=seed, steps=1000, watch_every=50, layers=names)
    page = open_page(write_page(*load_all([tmp_path]), tmp_path / "report.html"), "desktop")
    page.wait_for_selector(DRAWN, timeout=20_000)
    assert page.evaluate(f"{EMPTY_PLOTS}.length") == 0
