"""Pages in a real browser: Debian's chromium, without a window."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

Size = Literal["desktop", "phone"]
OpenPage = Callable[[str | Path, Size], Page]
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
NAMES = ("chromium", "chromium-browser", "google-chrome")


# One per module, not per session: while it lives, no other test of the process may run an event loop.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The browser; it runs as root too."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    assert program, f"none of {', '.join(NAMES)} is installed; `make test` does it, or: apt-get install chromium"
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page_errors() -> list[str]:
    """Errors on the console, uncaught exceptions and failed requests of every page that `open_page` opened."""
    return []


@pytest.fixture
def open_page(chromium: Browser, page_errors: list[str]) -> Iterator[OpenPage]:
    """`open_page(path or url, "desktop" | "phone")`, loaded; at its end the test fails if a page had an error."""
    contexts = []

    def open_(place: str | Path, size: Size) -> Page:
        width, height = SIZES[size]
        is_phone = size == "phone"
        context = chromium.new_context(
            viewport={"width": width, "height": height}, is_mobile=is_phone, has_touch=is_phone, device_scale_factor=1
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: _note_error(page_errors, message))
        page.on("pageerror", lambda error: page_errors.append(f"exception: {error}"))
        page.on("requestfailed", lambda request: _note_failure(page_errors, request))
        page.goto(place.resolve().as_uri() if isinstance(place, Path) else place)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert page_errors == []


def _note_failure(page_errors: list[str], request: Any) -> None:
    # The browser itself gives up an icon that is still on its way when the page is closed.
    if request.failure != "net::ERR_ABORTED":
        page_errors.append(f"failed: {request.url} {request.failure}")


def _note_error(errors: list[str], message: ConsoleMessage) -> None:
    if message.type == "error":
        errors.append(f"console: {message.text}")


def horizontal_overflow(page: Page) -> int:
    """Pixels by which the page is wider than its window."""
    # Not window.innerWidth: a phone zooms out until a page that is too wide fits.
    assert page.viewport_size
    return page.evaluate("document.documentElement.scrollWidth") - page.viewport_size["width"]
