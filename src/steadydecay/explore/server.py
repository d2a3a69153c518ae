"""Serve the page to this machine's own browser."""

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
    """Serve the page until interrupted.

    Args:
        port: 0 takes any that is free.
        open_browser: show the page in the default browser.

    Raises:
        OSError: the port is taken or not allowed.
    """
    with _listening(port) as listener:
        url = f"http://{ADDRESS}:{listener.getsockname()[1]}"
        print(f"steadydecay explore: {url} (Ctrl-C ends it)", flush=True)
        # The listener keeps an early visitor waiting until the server answers.
        if open_browser:
            webbrowser.open(url)
        # A page that is closed ends its kernel at once: one that lived on would keep the process from ending.
        maker = marimo.create_asgi_app(quiet=True, html_head=HEAD, session_ttl=0)
        page = for_own_visitors(maker.with_app(path="", root=str(PAGE)).build(), PAGE)
        # A visitor's claims about proxies are not believed, and the server does not name itself. A log_config would
        # close every handler of the process (logging.shutdown), and absl's closes the stream below it.
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
        raise OSError(f"port is {port}, and {ADDRESS} refuses it ({error}); --port 0 takes any that is free") from error
