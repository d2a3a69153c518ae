"""The live view: the page of a run, served only to this machine and rebuilt when a log has changed."""

import hashlib
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, final

from steadydecay.report.find_logs import find_logs
from steadydecay.report.own_machine import ADDRESS, refusal
from steadydecay.report.report_page import content_of, page_around
from steadydecay.report.runs import load_all
from steadydecay.run_log.readable_text import utf8

TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"
# Each request has a thread, and further ones wait until one of these is answered.
MOST_CONNECTIONS = 256
# The time after which a visitor that neither sends nor receives anything is dropped.
IDLE_SECONDS = 10
# A visitor counts as slow if it does not receive this much in that time.
PIECE_BYTES = 1 << 16


@final
@dataclass(frozen=True)
class Shown:
    """The page for one state of the logs.

    Attributes:
        version: A short text that changes with any change of any log and with new runs.
        page: The whole page.
        content: The part of the page that changes.
    """

    version: bytes
    page: bytes
    content: bytes


@final
class LiveReport:
    """The current page of the runs at `paths`, built once for each state of the logs. Thread-safe.

    However many visitors ask at the same time, one page is built at a time, and all who asked before its logs were read
    receive it.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self._lock = threading.Lock()
        self._looked_at = -1.0
        self._version = ""
        # The page, or the reason why there is none.
        self._outcome: Shown | str = ""

    def current(self) -> Shown:
        """Return the current page.

        Raises:
            ValueError: There is no log, or one cannot be read.
        """
        asked_at = time.monotonic()
        with self._lock:
            if self._looked_at <= asked_at:
                self._look()
            outcome = self._outcome
        if isinstance(outcome, str):
            raise ValueError(outcome)
        return outcome

    def _look(self) -> None:
        self._looked_at = time.monotonic()
        try:
            version = _version(self._paths)
            if version != self._version:
                self._outcome = _built(self._paths, version)
        except (ValueError, OSError) as error:
            version, self._outcome = "", str(error)
        self._version = version


def _version(paths: Sequence[Path]) -> str:
    states = [(str(log), log.stat()) for log in find_logs(paths)[0]]
    texts = [f"{name} {state.st_mtime_ns} {state.st_size}" for name, state in states]
    return hashlib.sha256(utf8("\n".join(texts))).hexdigest()[:16]


def _built(paths: Sequence[Path], version: str) -> Shown:
    runs, missing = load_all(paths)
    content = content_of(runs, missing)
    page = page_around(content, runs, live_version=version)
    return Shown(version.encode(), utf8(page), utf8(content))


def server_for(report: LiveReport, port: int) -> ThreadingHTTPServer:
    """Create a server on loopback that is not serving yet. Port 0 takes any free port.

    Raises:
        ValueError: The port is outside [0, 65535].
        OSError: The port is taken.
    """
    if not 0 <= port <= 65535:
        raise ValueError(f"port is {port}; it must be in 0 to 65535, where 0 takes any free port")
    return _Server((ADDRESS, port), partial(_Handler, report))


@final
class _Server(ThreadingHTTPServer):
    """A server that serves a limited number of visitors at a time while others wait."""

    request_queue_size = 128

    def __init__(self, *arguments: Any) -> None:
        self._places = threading.BoundedSemaphore(MOST_CONNECTIONS)
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._places.acquire()
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        # If a browser closes the page in the middle of a request or a response, that is not an error.
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


@final
class _Handler(BaseHTTPRequestHandler):
    timeout = IDLE_SECONDS

    def __init__(self, report: LiveReport, *arguments: Any) -> None:
        self._report = report
        super().__init__(*arguments)

    def do_GET(self) -> None:
        if reason := refusal(self.headers.items()):
            return self._answer(HTTPStatus.FORBIDDEN, TEXT, reason.encode())
        answers = {"/": (HTML, "page"), "/content": (HTML, "content"), "/version": (TEXT, "version")}
        if self.path not in answers:
            missing = "There is nothing here. The page is at /, and its parts are at /content and /version."
            return self._answer(HTTPStatus.NOT_FOUND, TEXT, missing.encode())
        kind, part = answers[self.path]
        try:
            body = getattr(self._report.current(), part)
        except ValueError as error:
            # A log is just being replaced, and the page will ask again.
            return self._answer(HTTPStatus.SERVICE_UNAVAILABLE, TEXT, utf8(str(error)))
        return self._answer(HTTPStatus.OK, kind, body)

    def version_string(self) -> str:
        """Keep the machine's Python version out of the "Server" header."""
        return "steadydecay"

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        # All visitors share one page, of which slices of bytes would be copies.
        shared = memoryview(body)
        for start in range(0, len(body), PIECE_BYTES):
            self.wfile.write(shared[start : start + PIECE_BYTES])

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing, because a line for each request would bury what the user reads."""
