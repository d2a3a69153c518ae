"""The page in a real browser, served by the real command."""

import base64
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

import psutil
import pytest
from playwright.sync_api import Locator, Page, expect

from browser import OpenPage, horizontal_overflow
from control_c import take_control_c
from steadydecay import explore

COMMAND = Path(sys.executable).with_name("steadydecay")
TABS = {"AdamW or L2": 2, "Schedules": 1, "Momentum": 3}
CONTROLS = {
    "AdamW or L2": ["weight θ", "gradient g", "learning rate γ", "weight decay λ", "β₁", "β₂"],
    "Schedules": ["peak learning rate γ", "weight decay λ", "momentum β", "steps"],
    "Momentum": ["learning rate γ", "momentum β"],
}
CHOICES = {
    "AdamW or L2": {},
    "Schedules": {"learning rate schedule": "wsd", "decay rule": "exact", "update (LMO)": "Sign"},
    "Momentum": {"shape of γeff": "linear"},
}

ROLES: tuple[Literal["tab", "slider", "combobox", "checkbox"], ...] = ("tab", "slider", "combobox", "checkbox")


class Served(NamedTuple):
    process: subprocess.Popen[str]
    url: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The command, ended as a person ends it: it says nothing but its address."""
    errors = tmp_path_factory.mktemp("explore") / "stderr.txt"
    with errors.open("w") as stderr:
        command = [COMMAND, "explore", "--port", "0", "--no-browser"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, preexec_fn=take_control_c)
        assert process.stdout
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        assert found, errors.read_text()
        yield Served(process, found.group())
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()
        assert process.stdout.read() == ""
    assert errors.read_text() == ""


def shown(page: Page, tab: str) -> Locator:
    """The figures of a tab, all drawn."""
    page.get_by_role("tab", name=tab).click()
    figures = page.locator(".js-plotly-plot")
    expect(figures).to_have_count(TABS[tab], timeout=30_000)
    return figures


def data_of(figures: Locator) -> str:
    return figures.evaluate_all("figures => JSON.stringify(figures.map(figure => figure.data))")


def changed(figures: Locator, before: str, moved: str) -> str:
    """The figures' data, once it differs and stays."""
    deadline, last = time.monotonic() + 60, before
    while time.monotonic() < deadline:
        time.sleep(0.15)
        now = data_of(figures)
        if now == last and now not in (before, "[]"):
            return now
        last = now
    raise AssertionError(f"{moved} changes no picture")


def slider(page: Page, label: str) -> Locator:
    return page.locator("marimo-slider").filter(has_text=re.compile(rf"^\s*{label}")).get_by_role("slider")


def test_the_default_is_the_worked_example_and_nothing_comes_from_the_network(
    served: Served, open_page: OpenPage
) -> None:
    page = open_page("about:blank", "desktop")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(served.url)
    shown(page, "AdamW or L2")
    adamw, adam_l2 = page.locator(".katex-html").all_inner_texts()
    assert "=0.399854" in adamw
    assert "=0.399866" in adam_l2
    expect(page.get_by_text("25 times")).to_be_visible()
    for tab in TABS:
        shown(page, tab)
    assert asked
    assert [url for url in asked if not url.startswith((served.url, "data:", "blob:"))] == []


def test_every_control_changes_its_picture_and_keeps_its_place(served: Served, open_page: OpenPage) -> None:
    page = open_page(served.url, "desktop")
    left: dict[str, str] = {}
    for tab in TABS:
        figures = shown(page, tab)
        left[tab] = data_of(figures)
        for label in CONTROLS[tab]:
            slider(page, label).press("ArrowLeft")
            left[tab] = changed(figures, left[tab], label)
        assert page.locator("marimo-slider").count() == len(CONTROLS[tab])
        for label, choice in CHOICES[tab].items():
            page.locator("marimo-dropdown").filter(has_text=label).get_by_role("combobox").select_option(choice)
            left[tab] = changed(figures, left[tab], label)
        assert page.locator("marimo-dropdown").count() == len(CHOICES[tab])
        for box in page.get_by_role("checkbox").all():
            box.click()
            left[tab] = changed(figures, left[tab], "Nesterov")
        assert page.get_by_role("checkbox").count() == (tab != "AdamW or L2")
    for tab, data in left.items():
        assert data_of(shown(page, tab)) == data


def test_a_phone_shows_every_tab_within_its_width(served: Served, open_page: OpenPage) -> None:
    page = open_page(served.url, "phone")
    for tab in TABS:
        figures = shown(page, tab)
        assert horizontal_overflow(page) <= 0
        assert page.locator(".katex-html").evaluate_all("all => all.every(one => one.scrollWidth <= one.clientWidth)")
        roles = [page.get_by_role(role) for role in ROLES]
        parts = [part for parts in (figures, *roles) for part in parts.all()]
        assert len(parts) > 7
        for part in parts:
            box = part.bounding_box()
            assert box
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 390


def answered(served: Served, path: str, **headers: str) -> tuple[int, str]:
    """Status, and the headers and the text of the answer."""
    place = urlsplit(served.url)
    connection = http.client.HTTPConnection("127.0.0.1", place.port or 0, timeout=60)
    sent = {"Host": place.netloc} | {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("OPTIONS" if "Access_Control_Request_Method" in headers else "GET", path, headers=sent)
    answer = connection.getresponse()
    said = f"{answer.headers}{answer.read().decode()}"
    connection.close()
    return answer.status, said


def handshake(served: Served, session: str, host: str, origin: str) -> bytes:
    """The first bytes of the answer to a browser that opens the page's WebSocket."""
    with socket.create_connection(("127.0.0.1", urlsplit(served.url).port or 0), timeout=60) as connection:
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET /ws?session_id={session} HTTP/1.1", f"Host: {host}", f"Origin: {origin}", "Upgrade: websocket"]
        lines += ["Connection: Upgrade", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", ""]
        connection.sendall("\r\n".join(lines).encode())
        return connection.recv(4096)


def test_pages_of_other_hosts_and_origins_get_nothing(served: Served) -> None:
    own = urlsplit(served.url).netloc
    foreign = [
        {"Host": "evil.example", "Origin": "http://evil.example"},
        {"Host": f"127.0.0.1.evil.example:{urlsplit(served.url).port}"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"},
        {"Origin": "http://evil.example", "Access_Control_Request_Method": "POST"},
    ]
    for headers in foreign:
        for path in ("/", "/api/version", "/auth/login"):
            status, said = answered(served, path, **headers)
            assert status == 403 and said.endswith(" localhost.") != said.endswith(" another origin.")
            assert "allow" not in said.lower() and "marimo" not in said and str(Path.cwd()) not in said
    for host, origin in [("evil.example", "http://evil.example"), (own, "http://evil.example"), (own, "null")]:
        assert handshake(served, "foreign", host, origin).startswith(b"HTTP/1.1 403 ")


def test_the_own_page_is_answered_and_says_nothing_of_the_machine(served: Served) -> None:
    for name in ("127.0.0.1", "localhost"):
        own = f"{name}:{urlsplit(served.url).port}"
        status, said = answered(served, "/", Host=own, Origin=f"http://{own}")
        assert status == 200 and "steadydecay explore" in said
        assert "Access-Control" not in said and "uvicorn" not in said
        assert str(Path.cwd()) not in said and str(Path(explore.__file__).parent) not in said
        assert handshake(served, name, own, f"http://{own}").startswith(b"HTTP/1.1 101 ")


def test_only_this_machine_reaches_it(served: Served) -> None:
    process = psutil.Process(served.process.pid)
    connections = [one for each in (process, *process.children(True)) for one in each.net_connections("inet")]
    listening = {connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}
