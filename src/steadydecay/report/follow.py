"""The live view: the page of a run, served on this machine alone and rebuilt when a log has changed."""

import hashlib
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, final

from steadydecay.report.find_logs import find_logs
from steadydecay.report.report_page import content_of, page_of
from steadydecay.report.runs import load_all

ADDRESS = "127.0.0.1"
LOCAL_NAMES = (ADDRESS, "localhost")
TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"


@final
class LiveReport:
    """The page of the runs at `paths` as it is now; built at most once for each state of the logs. Thread-safe."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self._lock = threading.Lock()
        self._content = ("", "")

    def version(self) -> str:
        """Short; differs after any change of any log, and new runs count. Errors as in `find_logs`."""
        states = [(str(log), log.stat()) for log in find_logs(self._paths)[0]]
        texts = [f"{name} {state.st_mtime_ns} {state.st_size}" for name, state in states]
        return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]

    def page(self) -> str:
        """Errors as in `load_all`."""
        version = self.version()
        return page_of(*load_all(self._paths), live_version=version)

    def content(self) -> str:
        """What changes of the page."""
        with self._lock:
            version = self.version()
            if self._content[0] != version:
                self._content = (version, content_of(*load_all(self._paths)))
            return self._content[1]


def server_for(report: LiveReport, port: int) -> ThreadingHTTPServer:
    """A server on loopback, not yet serving; port 0 is any free one.

    Raises:
        ValueError: port outside [0, 65535].
        OSError: the port is taken.
    """
    if not 0 <= port <= 65535:
        raise ValueError(f"port is {port}; legal is 0 (any free one) to 65535")
    return ThreadingHTTPServer((ADDRESS, port), partial(_Handler, report))


@final
class _Handler(BaseHTTPRequestHandler):
    def __init__(self, report: LiveReport, *arguments: Any) -> None:
        self._report = report
        super().__init__(*arguments)

    def do_GET(self) -> None:
        host = self.headers.get("Host", "").rpartition(":")[0]
        if host not in LOCAL_NAMES:
            # A page elsewhere that names its own host as 127.0.0.1 must not read the logs.
            return self._answer(HTTPStatus.FORBIDDEN, TEXT, f"served for {' and '.join(LOCAL_NAMES)} only")
        answers = {"/": (HTML, self._report.page), "/content": (HTML, self._report.content)}
        answers["/version"] = (TEXT, self._report.version)
        if self.path not in answers:
            return self._answer(HTTPStatus.NOT_FOUND, TEXT, f"nothing here; the page is at http://{ADDRESS}/")
        kind, build = answers[self.path]
        try:
            return self._answer(HTTPStatus.OK, kind, build())
        except (ValueError, OSError) as error:
            # A log that is just being replaced; the page asks again.
            return self._answer(HTTPStatus.SERVICE_UNAVAILABLE, TEXT, str(error))

    def _answer(self, status: HTTPStatus, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        # A browser that closes the page in the middle of an answer is nobody's error.
        with suppress(ConnectionError):
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """A line for each question of the page would bury what the user reads."""
