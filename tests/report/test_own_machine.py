"""Who is answered: this machine's own browsers, and nobody who only reaches its loopback."""

import pytest

from steadydecay.report.own_machine import refusal


def reason(host: str = "127.0.0.1:2718", **others: str) -> str:
    return refusal([("Host", host), *((name.replace("_", "-"), value) for name, value in others.items())])


@pytest.mark.parametrize("host", ["127.0.0.1:2718", "localhost:2718", "LocalHost:80", "localhost", "127.0.0.1"])
def test_local_names_are_answered_with_any_port(host: str) -> None:
    assert reason(host) == ""
    assert reason(host, Origin=f"http://{host}", Sec_Fetch_Site="same-origin") == ""


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:2718",
        "127.0.0.1.evil.example:2718",
        "localhost.evil.example",
        "evil.example:127.0.0.1",
        "localhost@evil.example",
        "localhost:80@evil.example:80",
        "evil.example#localhost:80",
        "0.0.0.0:2718",
        "[::1]:2718",
        "127.0.0.2:2718",
        "127x0.0.1:2718",
        "localhost:123456",
        "localhost:",
        "localhost:٣",
        "",
    ],
)
def test_other_names_are_not(host: str) -> None:
    assert "served only under the names 127.0.0.1 and localhost" in reason(host)


def test_a_request_without_a_host_or_with_two_is_not_answered() -> None:
    assert "served only under" in refusal([])
    assert "served only under" in refusal([("Host", "localhost:80"), ("host", "evil.example")])
    assert "served only under" in refusal([("Host", "localhost:80"), ("HOST", "localhost:80")])


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "https://127.0.0.1:2718",
        "http://127.0.0.1:9999",
        "http://localhost:2718",
        "http://127.0.0.1:2718.evil.example",
        "http://127.0.0.1:27180",
        "null",
        "",
        "file://",
    ],
)
def test_another_origin_is_not_answered(origin: str) -> None:
    assert "another origin" in reason(Origin=origin)


def test_of_two_origins_both_must_be_the_own_one() -> None:
    own = [("Host", "localhost:80"), ("Origin", "http://localhost:80")]
    assert refusal(own) == ""
    assert "another origin" in refusal([*own, ("origin", "http://evil.example")])


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pictures_scripts_and_frames_of_other_pages_are_not_answered_but_links_are(site: str) -> None:
    assert "another origin" in reason(Sec_Fetch_Site=site)
    for mode, kind in (("no-cors", "image"), ("no-cors", "script"), ("navigate", "iframe"), ("websocket", "document")):
        assert "another origin" in reason(Sec_Fetch_Site=site, Sec_Fetch_Mode=mode, Sec_Fetch_Dest=kind)
    assert reason(Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="document") == ""
    assert reason(Sec_Fetch_Site="none", Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="document") == ""
