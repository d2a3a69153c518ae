"""The page's server between the network and marimo, which answers everybody and says where its files are."""

from html import escape
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from steadydecay.report.own_machine import refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


def for_own_visitors(page: "ASGIApp", file: Path) -> "ASGIApp":
    """An ASGI application that answers as `page` does, but requests of this machine's own browsers alone.

    Args:
        page: the application.
        file: what it serves; no answer says in which folder that is, nor in which the server runs.
    """
    places = _spellings(file, Path.cwd())

    async def answer(scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] == "lifespan":
            return await page(scope, receive, send)
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        if reason := refusal(headers):
            return await _refuse(scope, receive, send, reason)
        # The own origin needs no permission; for any that is named, marimo would permit all.
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name.lower() != b"origin"]
        return await page(scope, receive, _without(places, send))

    return answer


async def _refuse(scope: "Scope", receive: "Receive", send: "Send", reason: str) -> None:
    from starlette.responses import PlainTextResponse
    from starlette.websockets import WebSocketClose

    refused = WebSocketClose(1008, reason) if scope["type"] == "websocket" else PlainTextResponse(reason, 403)
    await refused(scope, receive, send)


def _spellings(file: Path, current: Path) -> dict[bytes, bytes]:
    """What says where the file and the server are, as HTML, JSON and addresses spell it, and what stands there then."""
    folder, uri = str(file.parent), file.parent.as_uri().removeprefix("file://")
    spelt = (folder, escape(folder), dumps(folder)[1:-1], uri, quote(folder, safe=""))
    # In quotes: the current folder, or the one of a project around the page, may be "/", with which all others begin.
    around = (f'"{one.as_uri()}"'.encode() for one in (current, *current.parents, *file.parents))
    return dict.fromkeys((one.encode() for one in spelt), b"") | dict.fromkeys(around, b'"file:///"')


def _without(places: dict[bytes, bytes], send: "Send") -> "Send":
    """Sends on, with places replaced in pages (they are sent whole, since what stands there may be cut anywhere)."""
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
