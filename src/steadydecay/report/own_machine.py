"""Which requests the pages of this machine answer: those of its own browsers to the page itself, under a local name.

Listening on loopback alone does not keep others out: any page in the same browser can send requests there, and one
whose host name is made to mean 127.0.0.1 (DNS rebinding) could read the answers.
"""

import re
from collections.abc import Iterable

ADDRESS = "127.0.0.1"
LOCAL_NAMES = (ADDRESS, "localhost")
# With any port: one that is forwarded from elsewhere bears the number that it has there.
LOCAL_HOST = re.compile(rf"({'|'.join(map(re.escape, LOCAL_NAMES))})(:[0-9]{{1,5}})?", re.IGNORECASE)


def refusal(headers: Iterable[tuple[str, str]]) -> str:
    """Why a request with these headers is not answered; empty for one that is.

    >>> refusal([("Host", "localhost:80")])
    ''
    >>> refusal([("Host", "localhost:80"), ("Origin", "http://evil.example")])
    'This page answers no page of another origin.'
    """
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name.lower(), []).append(value.strip().lower())
    hosts = found.get("host", [])
    if len(hosts) != 1 or LOCAL_HOST.fullmatch(hosts[0]) is None:
        return f"This page is served for {' and '.join(LOCAL_NAMES)} only."
    if any(origin != f"http://{hosts[0]}" for origin in found.get("origin", [])) or _is_for_another_page(found):
        return "This page answers no page of another origin."
    return ""


def _is_for_another_page(found: dict[str, list[str]]) -> bool:
    """Images, scripts and frames are asked for without an origin; browsers say so in headers of their own."""
    is_link = found.get("sec-fetch-mode") == ["navigate"] and found.get("sec-fetch-dest") == ["document"]
    return not is_link and not set(found.get("sec-fetch-site", [])) <= {"same-origin", "none"}
