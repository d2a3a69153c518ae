"""What stands between the network and the page: it refuses others, and takes places out of what it sends."""

import asyncio
from html import escape
from json import dumps
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from steadydecay.explore.own_visitors import for_own_visitors

OWN = [(b"host", b"localhost:2718")]
FOREIGN = [(b"host", b"localhost:2718"), (b"origin", b"http://evil.example")]


def sent_by(kind: str, headers: list[tuple[bytes, bytes]], parts: list[bytes], media: bytes, file: Path) -> list[Any]:
    """What reaches the network of an application that sends these parts."""
    sent: list[Any] = []

    async def page(scope: Any, receive: Any, send: Any) -> None:
        assert b"origin" not in dict(scope["headers"])
        length = str(len(b"".join(parts))).encode()
        start = {"type": "http.response.start", "status": 200}
        await send(start | {"headers": [(b"Content-Type", media), (b"Content-Length", length), (b"etag", b"7")]})
        for index, part in enumerate(parts, 1):
            await send({"type": "http.response.body", "body": part, "more_body": index < len(parts)})

    async def receive() -> dict[str, str]:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": kind, "headers": headers}
    asyncio.run(for_own_visitors(page, file)(scope, receive, send))  # pyright: ignore[reportArgumentType]
    return sent


@pytest.mark.parametrize("folder", ["/home/me/packages", "/home/mé/a b&c", '/home/"quoted"'])
def test_a_page_says_nowhere_where_it_and_its_server_are(folder: str) -> None:
    file = Path(folder) / "page.py"
    places = [str(file), file.as_uri(), Path.cwd().as_uri(), Path(folder).parent.as_uri()]
    said = f"<p>{escape(str(file))}</p><script>{dumps(places)}</script>"
    said += f"<a href='?{quote(str(file), safe='')}'>"
    body = said.encode()
    parts = [body[:20], body[20:21], body[21:]]
    start, sent = sent_by("http", [*OWN, (b"origin", b"http://localhost:2718")], parts, b"text/html", file)
    text = sent["body"].decode()
    assert "home" not in text and Path.cwd().name not in text
    assert text.startswith("<p>/page.py</p>") and text.count("page.py") == 4
    assert dict(start["headers"])[b"content-length"] == str(len(sent["body"])).encode()
    assert dict(start["headers"])[b"etag"] == b"7" and len(start["headers"]) == 3


def test_all_but_pages_is_sent_on_as_it_is() -> None:
    parts = [b"/home/me/", b"page.py"]
    start, *bodies = sent_by("http", OWN, parts, b"application/json", Path("/home/me/page.py"))
    assert [message["body"] for message in bodies] == parts
    assert dict(start["headers"])[b"Content-Length"] == b"16"


def test_a_refused_request_never_reaches_the_page() -> None:
    start, body = sent_by("http", FOREIGN, [b"secret"], b"text/html", Path("/home/me/page.py"))
    assert (start["status"], body["body"]) == (403, b"This page does not answer pages of another origin.")


def test_a_refused_socket_is_closed_before_it_opens() -> None:
    (message,) = sent_by("websocket", FOREIGN, [b"secret"], b"text/html", Path("/home/me/page.py"))
    assert (message["type"], message["code"]) == ("websocket.close", 1008)
