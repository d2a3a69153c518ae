"""The live view: a real server on loopback that follows logs, and answers nobody else."""

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from report_logs import write_run
from steadydecay.report import follow
from steadydecay.report.follow import LiveReport, server_for

Ask = Callable[..., tuple[int, str]]


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """Of a server that follows `tmp_path`."""
    write_run(tmp_path / "run", until=20)
    server = server_for(LiveReport([tmp_path]), 0)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def ask(port: int) -> Ask:
    """ask(path, host, other headers): status and text."""

    def ask_(path: str, host: str | None = None, others: dict[str, str] | None = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", path, headers={"Host": host or f"127.0.0.1:{port}"} | (others or {}))
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    return ask_


def append(path: Path, line: str) -> None:
    with path.open("a") as log:
        log.write(line + "\n")


def test_the_page_is_served_with_the_version_that_it_shows(ask: Ask) -> None:
    status, page = ask("/")
    assert status == 200 and page.startswith("<!doctype html>")
    status, version = ask("/version")
    assert status == 200 and f'data-version="{version}"' in page
    assert ask("/version") == (200, version), "the same while nothing changes"


def test_a_new_step_and_a_new_run_change_the_version_and_the_content(ask: Ask, tmp_path: Path) -> None:
    _, before = ask("/version")
    assert "20 of 200 steps are done" in ask("/content")[1]
    append(tmp_path / "run" / "run.jsonl", '{"kind": "step", "step": 21, "loss": 2.0}')
    _, after = ask("/version")
    assert after != before
    status, content = ask("/content")
    assert status == 200 and "21 of 200 steps are done" in content and "<html" not in content
    write_run(tmp_path / "second", "adamw", until=3)
    assert ask("/version")[1] not in (before, after)
    assert "AdamW" in ask("/content")[1]


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time at which the building of each page began; each takes 0.2 seconds."""
    times: list[float] = []
    content_of = follow.content_of

    def slowly(*given: Any) -> str:
        times.append(time.monotonic())
        time.sleep(0.2)
        return content_of(*given)

    monkeypatch.setattr(follow, "content_of", slowly)
    return times


def test_the_page_is_built_once_for_each_state_of_the_logs(ask: Ask, built: list[float], tmp_path: Path) -> None:
    first = {path: ask(path) for path in ("/", "/content", "/version")}
    assert {path: ask(path) for path in first} == first and len(built) == 1
    append(tmp_path / "run" / "run.jsonl", '{"kind": "step", "step": 21, "loss": 2.0}')
    assert "21 of 200" in ask("/")[1] and "21 of 200" in ask("/content")[1] and len(built) == 2


def at_once(ask: Ask, paths: Sequence[str]) -> list[tuple[int, str]]:
    with ThreadPoolExecutor(len(paths)) as threads:
        return list(threads.map(ask, paths))


def test_many_who_ask_at_the_same_time_share_one_page(ask: Ask, built: list[float]) -> None:
    answers = at_once(ask, ["/"] * 60)
    assert {status for status, _ in answers} == {200} and len({page for _, page in answers}) == 1
    assert len(built) == 1


def test_a_log_that_grows_without_end_is_built_one_page_at_a_time(ask: Ask, built: list[float], tmp_path: Path) -> None:
    log, paths = tmp_path / "run" / "run.jsonl", ["/content", "/", "/version"] * 20
    is_over = threading.Event()

    def grow() -> None:
        for step in range(21, 2000):
            append(log, f'{{"kind": "step", "step": {step}, "loss": 2.0}}')
            if is_over.wait(0.005):
                return

    with ThreadPoolExecutor(1) as grower:
        grower.submit(grow)
        answers = at_once(ask, paths)
        is_over.set()
    assert {status for status, _ in answers} == {200}
    assert len(built) <= 10, "sixty questions, and each page answers all that were asked before it"
    assert all(later - earlier >= 0.2 for earlier, later in pairwise(built))


def test_an_answer_is_never_older_than_its_question(built: list[float], tmp_path: Path) -> None:
    write_run(tmp_path / "run", until=5)
    report = LiveReport([tmp_path])
    with ThreadPoolExecutor(1) as threads:
        early = threads.submit(report.current)
        while not built:
            time.sleep(0.01)
        append(tmp_path / "run" / "run.jsonl", '{"kind": "step", "step": 6, "loss": 2.0}')
        assert b"6 of 200" in report.current().content
        assert b"5 of 200" in early.result().content


def test_all_visitors_share_the_bytes_of_one_page(tmp_path: Path) -> None:
    write_run(tmp_path / "run", until=5)
    report = LiveReport([tmp_path])
    assert report.current() is report.current()


def test_a_log_that_is_gone_is_a_passing_fault(ask: Ask, tmp_path: Path) -> None:
    log = tmp_path / "run" / "run.jsonl"
    content = log.read_bytes()
    log.unlink()
    for path in ("/", "/content", "/version"):
        status, text = ask(path)
        assert status == 503 and "no run was found" in text
    log.write_bytes(content)
    assert ask("/")[0] == 200


@pytest.mark.parametrize("path", ["/run/run.jsonl", "/../../etc/passwd", "/favicon.ico", "/content/x"])
def test_nothing_else_is_served(ask: Ask, path: str) -> None:
    assert ask(path)[0] == 404


@pytest.mark.parametrize("host", ["evil.example:80", "127.0.0.1.evil.example:80", "evil.example", "[::1]:80"])
def test_pages_of_other_hosts_get_no_answer(ask: Ask, host: str) -> None:
    status, text = ask("/content", host)
    assert status == 403 and "steps" not in text
    assert ask("/version", "localhost:80")[0] == 200


@pytest.mark.parametrize(
    "others",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"},
    ],
)
def test_pages_of_other_origins_get_no_answer(ask: Ask, others: dict[str, str]) -> None:
    for path in ("/", "/content", "/version"):
        status, text = ask(path, None, others)
        assert status == 403 and "another origin" in text


def test_no_answer_says_what_machine_this_is(port: int, tmp_path: Path) -> None:
    for path, host in (("/", "evil.example"), ("/", f"127.0.0.1:{port}"), ("/nothing", f"127.0.0.1:{port}")):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        headers, text = str(answer.headers), answer.read().decode()
        assert "Python" not in headers and "Access-Control" not in headers
        assert str(tmp_path) not in text
        connection.close()


def test_only_this_machine_is_listened_to(tmp_path: Path) -> None:
    write_run(tmp_path / "run", until=2)
    with server_for(LiveReport([tmp_path]), 0) as server:
        assert server.server_address[0] == "127.0.0.1" and server.server_port > 0


@pytest.mark.parametrize("asked", ["", "GET / HT", "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"])
def test_a_browser_that_leaves_in_the_middle_is_no_error(
    asked: str, ask: Ask, port: int, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            connection.sendall(asked.encode())
    assert ask("/version")[0] == 200
    assert capfd.readouterr().err == ""


def test_visitors_who_say_nothing_or_take_nothing_keep_nobody_out(
    ask: Ask, port: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(follow._Handler, "timeout", 0.5)
    before = threading.active_count()
    visitors = [socket.create_connection(("127.0.0.1", port)) for _ in range(follow.MOST_CONNECTIONS + 20)]
    for deaf in visitors[::2]:
        deaf.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert ask("/version")[0] == 200
    assert threading.active_count() - before <= follow.MOST_CONNECTIONS
    deadline = time.monotonic() + 20
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threading.active_count() == before, "those who neither send nor take are left"
    for visitor in visitors:
        visitor.close()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_outside_its_range_is_an_error(tmp_path: Path, port: int) -> None:
    with pytest.raises(ValueError, match=rf"port is {port}; it must be in 0 to 65535"):
        server_for(LiveReport([tmp_path]), port)


def test_a_port_that_is_taken_is_an_error(tmp_path: Path) -> None:
    with server_for(LiveReport([tmp_path]), 0) as server, pytest.raises(OSError, match="in use"):
        server_for(LiveReport([tmp_path]), server.server_port)
