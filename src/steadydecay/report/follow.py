"""The live view: the page of a run, served on this machine alone and rebuilt when a log has changed."""

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
# More wait until one of these is answered: each has a thread.
MOST_CONNECTIONS = 256
# After which a visitor that neither sends nor takes anything is left.
IDLE_SECONDS = 10
# A slow visitor is one that does not take this much in that time.
PIECE_BYTES = 1 << 16


@final
@dataclass(frozen=True)
class Shown:
    """The page of one state of the logs.

    Attributes:
        version: short; differs after any change of any log, and new runs count.
        page: the whole of it.
        content: what changes of it.
    """

    version: bytes
    page: bytes
    content: bytes


@final
class LiveReport:
    """The page of the runs at `paths` as it is now; built once for each state of the logs. Thread-safe.

    However many ask at the same time, one page is built at a time, and all who asked before its logs were looked at
    get it.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self._lock = threading.Lock()
        self._looked_at = -1.0
        self._version = ""
        # The page, or why there is none.
        self._outcome: Shown | str = ""

    def current(self) -> Shown:
        """The page as of now.

        Raises:
            ValueError: no log there, or one that cannot be read.
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
    """A server on loopback, not yet serving; port 0 is any free one.

    Raises:
        ValueError: port outside [0, 65535].
        OSError: the port is taken.
    """
    if not 0 <= port <= 65535:
        raise ValueError(f"port is {port}; legal is 0 (any free one) to 65535")
    return _Server((ADDRESS, port), partial(_Handler, report))


@final
class _Server(ThreadingHTTPServer):
    """With a bound on the visitors that are served at a time; others wait."""

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
        # A browser that closes the page in the middle of a question or an answer is nobody's error.
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
            missing = "There is nothing here; the page is at /, its parts are at /content and /version."
            return self._answer(HTTPStatus.NOT_FOUND, TEXT, missing.encode())
        kind, part = answers[self.path]
        try:
            body = getattr(self._report.current(), part)
        except ValueError as error:
            # A log that is just being replaced; the page asks again.
            return self._answer(HTTPStatus.SERVICE_UNAVAILABLE, TEXT, utf8(str(error)))
        return self._answer(HTTPStatus.OK, kind, body)

    def version_string(self) -> str:
        """For the header "Server": which Python this machine has is nobody's business."""
        return "steadydecay"

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        # All visitors share one page; a slice of bytes would be a copy for each.
        shared = memoryview(body)
        for start in range(0, len(body), PIECE_BYTES):
            self.wfile.write(shared[start : start + PIECE_BYTES])

    def log_message(self, format: str, *args: Any) -> None:
        """A line for each question of the page would bury what the user reads."""
