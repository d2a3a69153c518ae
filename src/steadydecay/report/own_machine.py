"""Decide which requests the local pages answer: only those of this machine's browsers to the page itself.

Listening on loopback is not enough: any page in the same browser can send requests there, and one whose host name is
made to resolve to 127.0.0.1 (DNS rebinding) could read the answers.
"""

import re
from collections.abc import Iterable

ADDRESS = "127.0.0.1"
LOCAL_NAMES = (ADDRESS, "localhost")
# With any port, because a forwarded port has the number of the machine that forwards it.
LOCAL_HOST = re.compile(rf"({'|'.join(map(re.escape, LOCAL_NAMES))})(:[0-9]{{1,5}})?", re.IGNORECASE)


def refusal(headers: Iterable[tuple[str, str]]) -> str:
    """Return why a request with these headers is refused, or "" if it is answered.

    >>> refusal([("Host", "localhost:80")])
    ''
    >>> refusal([("Host", "localhost:80"), ("Origin", "http://evil.example")])
    'This page does not answer pages of another origin.'
    """
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name.lower(), []).append(value.strip().lower())
    hosts = found.get("host", [])
    if len(hosts) != 1 or LOCAL_HOST.fullmatch(hosts[0]) is None:
        return f"This page is served only under the names {' and '.join(LOCAL_NAMES)}."
    if any(origin != f"http://{hosts[0]}" for origin in found.get("origin", [])) or _is_for_another_page(found):
        return "This page does not answer pages of another origin."
    return ""


def _is_for_another_page(found: dict[str, list[str]]) -> bool:
    """Images, scripts and frames are requested without an origin, which browsers declare in separate headers."""
    is_link = found.get("sec-fetch-mode") == ["navigate"] and found.get("sec-fetch-dest") == ["document"]
    return not is_link and not set(found.get("sec-fetch-site", [])) <= {"same-origin", "none"}
