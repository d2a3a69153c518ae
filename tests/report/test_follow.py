"""The live view: a real server on loopback that follows logs, and answers nobody else."""

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

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
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def ask(port: int) -> Ask:
    """ask(path, host): status and text."""

    def ask_(path: str, host: str | None = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", path, headers={"Host": host or f"127.0.0.1:{port}"})
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
    assert "20 of 200 steps so far" in ask("/content")[1]
    append(tmp_path / "run" / "run.jsonl", '{"kind": "step", "step": 21, "loss": 2.0}')
    _, after = ask("/version")
    assert after != before
    status, content = ask("/content")
    assert status == 200 and "21 of 200 steps so far" in content and "<html" not in content
    write_run(tmp_path / "second", "adamw", until=3)
    assert ask("/version")[1] not in (before, after)
    assert "AdamW" in ask("/content")[1]


def test_the_content_is_built_once_for_each_state_of_the_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    content_of = follow.content_of
    monkeypatch.setattr(follow, "content_of", lambda *given: built.append(1) or content_of(*given))
    write_run(tmp_path / "run", until=5)
    report = LiveReport([tmp_path])
    assert report.content() == report.content() and len(built) == 1
    append(tmp_path / "run" / "run.jsonl", '{"kind": "step", "step": 6, "loss": 2.0}')
    assert "6 of 200" in report.content() and len(built) == 2


def test_a_log_that_is_gone_is_a_passing_fault(ask: Ask, tmp_path: Path) -> None:
    log = tmp_path / "run" / "run.jsonl"
    content = log.read_bytes()
    log.unlink()
    for path in ("/", "/content", "/version"):
        status, text = ask(path)
        assert status == 503 and "no run found" in text
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


def test_only_this_machine_is_listened_to(tmp_path: Path) -> None:
    write_run(tmp_path / "run", until=2)
    with server_for(LiveReport([tmp_path]), 0) as server:
        assert server.server_address[0] == "127.0.0.1" and server.server_port > 0


def test_a_browser_that_leaves_in_the_middle_is_no_error(
    ask: Ask, port: int, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            connection.sendall(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    assert ask("/version")[0] == 200
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_outside_its_range_is_an_error(tmp_path: Path, port: int) -> None:
    with pytest.raises(ValueError, match=rf"port is {port}; legal is 0 \(any free one\) to 65535"):
        server_for(LiveReport([tmp_path]), port)


def test_a_port_that_is_taken_is_an_error(tmp_path: Path) -> None:
    with server_for(LiveReport([tmp_path]), 0) as server, pytest.raises(OSError, match="in use"):
        server_for(LiveReport([tmp_path]), server.server_port)
