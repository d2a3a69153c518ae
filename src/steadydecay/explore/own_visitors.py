"""A filter between the network and marimo, which would answer every visitor and reveal where its files are."""

from html import escape
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from steadydecay.report.own_machine import refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


def for_own_visitors(page: "ASGIApp", file: Path) -> "ASGIApp":
    """Wrap an ASGI application so that it answers only requests of this machine's own browsers.

    Args:
        page: The application.
        file: The file that it serves. No answer reveals its folder, nor the folder in which the server runs.
    """
    places = _spellings(file, Path.cwd())

    async def answer(scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] == "lifespan":
            return await page(scope, receive, send)
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        if reason := refusal(headers):
            return await _refuse(scope, receive, send, reason)
        # The page's own origin needs no permission, and marimo would grant it to any origin that is named.
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name.lower() != b"origin"]
        return await page(scope, receive, _without(places, send))

    return answer


async def _refuse(scope: "Scope", receive: "Receive", send: "Send", reason: str) -> None:
    from starlette.responses import PlainTextResponse
    from starlette.websockets import WebSocketClose

    refused = WebSocketClose(1008, reason) if scope["type"] == "websocket" else PlainTextResponse(reason, 403)
    await refused(scope, receive, send)


def _spellings(file: Path, current: Path) -> dict[bytes, bytes]:
    """Return the spellings of the file's and the server's folders in HTML, JSON and addresses, with replacements."""
    folder, uri = str(file.parent), file.parent.as_uri().removeprefix("file://")
    spelt = (folder, escape(folder), dumps(folder)[1:-1], uri, quote(folder, safe=""))
    # In quotes, because the current folder or the page's project folder may be "/", with which all paths begin.
    around = (f'"{one.as_uri()}"'.encode() for one in (current, *current.parents, *file.parents))
    return dict.fromkeys((one.encode() for one in spelt), b"") | dict.fromkeys(around, b'"file:///"')


def _without(places: dict[bytes, bytes], send: "Send") -> "Send":
    """Forward messages with places replaced in pages, which are sent whole because a place could be cut anywhere."""
    held: dict[str, Any] = {}
    parts: list[bytes] = []

    async def send_on(message: "Message") -> None:
        if message["type"] == "http.response.start" and _is_page(message):
            held.update(message)
        elif message["type"] == "http.response.body" and held:
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                body = b"".join(parts)
                for place, instead in places.items():
                    body = body.replace(place, instead)
                others = [header for header in held["headers"] if header[0].lower() != b"content-length"]
                await send(held | {"headers": [*others, (b"content-length", str(len(body)).encode())]})
                await send({"type": "http.response.body", "body": body})
        else:
            await send(message)

    return send_on


def _is_page(start: "Message") -> bool:
    return any(name.lower() == b"content-type" and value.startswith(b"text/html") for name, value in start["headers"])
