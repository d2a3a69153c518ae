"""Serve the page to this machine's own browsers."""

import socket
import webbrowser
from pathlib import Path

import marimo
import uvicorn

from steadydecay.explore.layout import HEAD
from steadydecay.explore.own_visitors import for_own_visitors
from steadydecay.report.own_machine import ADDRESS

PAGE = Path(__file__).with_name("explore_page.py")


def serve(port: int, *, open_browser: bool) -> None:
    """Serve the page until it is interrupted.

    Args:
        port: The port. 0 takes any free port.
        open_browser: Whether to open the page in the default browser.

    Raises:
        OSError: The port is taken or not permitted.
    """
    with _listening(port) as listener:
        url = f"http://{ADDRESS}:{listener.getsockname()[1]}"
        print(f"steadydecay explore: {url} (press Ctrl-C to stop)", flush=True)
        # The listener keeps an early visitor waiting until the server answers.
        if open_browser:
            webbrowser.open(url)
        # Closing the page ends its kernel at once, because a kernel that lived on would keep the process from exiting.
        maker = marimo.create_asgi_app(quiet=True, html_head=HEAD, session_ttl=0)
        page = for_own_visitors(maker.with_app(path="", root=str(PAGE)).build(), PAGE)
        # Do not trust visitors' claims about proxies, and do not name the server. A log_config would close every
        # handler of
        # the process (logging.shutdown), and absl's handler closes its stream with it.
        served = uvicorn.Config(
            page,
            log_config=None,
            log_level="warning",
            timeout_graceful_shutdown=1,
            proxy_headers=False,
            server_header=False,
        )
        uvicorn.Server(served).run(sockets=[listener])


def _listening(port: int) -> socket.socket:
    try:
        return socket.create_server((ADDRESS, port))
    except (OSError, OverflowError) as error:
        raise OSError(f"port is {port}, but {ADDRESS} refuses it ({error}); --port 0 takes any free port") from error
