"""The fixtures of the browser see what a person would see, and no error passes them."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from browser import OpenPage, Size, horizontal_overflow

PAGE = """<!doctype html><meta name="viewport" content="width=device-width"><title>t</title>
<input type="range" min="0" max="10" value="3" aria-label="lr"><p>3</p><div style="width:{width}px">wide</div>
<script>
const shown = document.querySelector("p");
document.querySelector("input").addEventListener("input", event => shown.textContent = event.target.value);
{script}
</script>"""


def written(folder: Path, script: str = "", width: int = 300) -> Path:
    path = folder / "page.html"
    path.write_text(PAGE.format(script=script, width=width))
    return path


def test_a_slider_moves_and_the_page_answers(tmp_path: Path, open_page: OpenPage) -> None:
    page = open_page(written(tmp_path), "desktop")
    page.get_by_label("lr").fill("7")
    expect(page.locator("p")).to_have_text("7")


@pytest.mark.parametrize(
    ("script", "seen"),
    [
        ("console.error('broken')", "console: broken"),
        ("throw new Error('thrown')", "exception: thrown"),
        ("document.body.append(Object.assign(new Image(), {src: 'absent.png'}))", "failed: .*absent.png"),
    ],
)
def test_an_error_of_the_page_is_noted(
    script: str, seen: str, tmp_path: Path, open_page: OpenPage, page_errors: list[str]
) -> None:
    open_page(written(tmp_path, script), "desktop")
    errors, page_errors[:] = page_errors[:], []
    assert errors
    assert any(re.match(seen, error) for error in errors), errors


def test_a_phone_is_narrow(tmp_path: Path, open_page: OpenPage) -> None:
    page = open_page(written(tmp_path, width=300), "phone")
    assert page.evaluate("window.innerWidth") == 390
    assert horizontal_overflow(page) <= 0


@pytest.mark.parametrize(("size", "window"), [("phone", 390), ("desktop", 1280)])
def test_a_page_wider_than_its_window_is_found(size: Size, window: int, tmp_path: Path, open_page: OpenPage) -> None:
    page = open_page(written(tmp_path, width=window + 100), size)
    assert horizontal_overflow(page) > 90
