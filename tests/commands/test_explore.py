"""`steadydecay explore`: what can go wrong before the page is served, and the browser that is opened."""

import logging
import re
import socket
import webbrowser
from typing import Any

import pytest
import uvicorn

from steadydecay.cli import main
from steadydecay.commands import explore


def mistake(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as exit_:
        main(["explore", "--no-browser", *arguments])
    assert exit_.value.code == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    return shown.err


def test_a_taken_port_is_one_line_with_the_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        err = mistake(["--port", str(port)], capsys)
    assert re.fullmatch(rf"steadydecay: port is {port}, but 127\.0\.0\.1 refuses it .*--port 0 takes any.*\n", err)


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_a_port_that_does_not_exist_is_one_line(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert re.fullmatch(rf"steadydecay: port is {port}, but .*0-65535.*\n", mistake(["--port", port], capsys))


def test_without_marimo_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(explore, "find_spec", {"marimo": None}.__getitem__)
    assert "pip install 'steadydecay[explore]'" in mistake([], capsys)


@pytest.mark.parametrize(("options", "opened"), [([], 1), (["--no-browser"], 0)])
def test_the_browser_opens_at_the_address_that_is_printed(
    options: list[str], opened: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    urls: list[str] = []
    served: list[tuple[str, int]] = []

    def interrupted(server: uvicorn.Server, sockets: list[Any]) -> None:
        served.extend(each.getsockname() for each in sockets)
        raise KeyboardInterrupt

    monkeypatch.setattr(webbrowser, "open", urls.append)
    monkeypatch.setattr(uvicorn.Server, "run", interrupted)
    main(["explore", "--port", "0", *options])
    ((host, port),) = served
    assert host == "127.0.0.1"
    assert capsys.readouterr().out == f"steadydecay explore: http://127.0.0.1:{port} (press Ctrl-C to stop)\n"
    assert urls == [f"http://127.0.0.1:{port}"] * opened


def test_serving_leaves_the_handlers_of_the_process_open(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    closed: list[str] = []

    class Told(logging.NullHandler):
        def close(self) -> None:
            closed.append("closed")

    monkeypatch.setattr(uvicorn.Server, "run", lambda server, sockets: None)
    handler = Told()
    main(["explore", "--port", "0", "--no-browser"])
    assert closed == []
    del handler
