"""The site builds without a warning, shows every public name, and asks nothing of another host."""

import functools
import http.server
import inspect
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

import steadydecay as sd
from browser import OpenPage, Size, horizontal_overflow
from steadydecay.public_names import HOMES, HOMES_ABOVE_THEORY

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs/reference"
PUBLIC = {
    **{f"steadydecay.{name}": getattr(sd, name) for name in HOMES},
    **{f"steadydecay.theory.{name}": getattr(sd.theory, name) for name in sd.theory.__all__},
    **{f"steadydecay.norms.{name}": getattr(sd.norms, name) for name in sd.norms.__all__},
}
# Names whose page is that of the object in its home, which a static reader does not find under the public name.
SHOWN_AS = {f"steadydecay.theory.{name}": f"{home}.{name}" for name, home in HOMES_ABOVE_THEORY.items()}
# What takes arguments and refuses none of them: they only combine, look up or print.
REFUSES_NOTHING = {
    "steadydecay.describe",
    "steadydecay.theory.MomentumFilter",
    "steadydecay.theory.Reference",
    "steadydecay.theory.exponential_average",
    "steadydecay.theory.lion_average",
    "steadydecay.theory.nesterov_average",
    "steadydecay.norms.LmoBlock",
    "steadydecay.norms.fewest_dimensions",
    "steadydecay.norms.is_row_wise",
    "steadydecay.norms.lmo_norm_sq",
    "steadydecay.norms.norm_name",
    "steadydecay.norms.plain_spec",
}

# A page of each kind: prose, code, equations with a table and a drawing, docstrings, a wide table.
LOOKED_AT = ("index", "start_here", "concepts/lmo_norms", "contributors/architecture", "scaling", "reference/verbs")


def callables_with_arguments() -> dict[str, Any]:
    documented = {name: one for name, one in PUBLIC.items() if inspect.isroutine(one) or inspect.isclass(one)}
    documented |= {"steadydecay.theory.power_series": sd.theory.power_series}
    return {name: one for name, one in documented.items() if takes_arguments(one)}


def takes_arguments(one: Any) -> bool:
    return not getattr(one, "_is_protocol", False) and bool(inspect.signature(one).parameters)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_on_one_page_of_the_reference(name: str) -> None:
    pages = "\n".join(path.read_text(encoding="utf-8") for path in REFERENCE.glob("*.md"))
    assert re.findall(r"^::: (\S+)$", pages, re.MULTILINE).count(SHOWN_AS.get(name, name)) == 1


@pytest.mark.parametrize("name", callables_with_arguments())
def test_a_docstring_says_what_the_arguments_are_and_what_is_refused(name: str) -> None:
    docstring = inspect.getdoc(PUBLIC[name]) or ""
    assert re.search(r"^(Args|Attributes):$", docstring, re.MULTILINE)
    assert ("\nRaises:\n" in docstring) != (name in REFUSES_NOTHING)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site, as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_every_public_name_has_its_place_on_the_built_site(site: Path) -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in site.glob("reference/*.html"))
    assert [name for name in PUBLIC if f'id="{SHOWN_AS.get(name, name)}"' not in text] == []


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    loads = re.compile(r'<(?:link|script|img|iframe|source)\b[^>]*?(?:href|src)="?(?:https?:)?//[^>]*>')
    pages = {path.name: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    assert len(pages) > 40
    assert {name: found for name, text in pages.items() if (found := loads.findall(text))} == {}


def test_examples_of_docstrings_are_code_and_not_quotations(site: Path) -> None:
    text = (site / "reference/theory.html").read_text(encoding="utf-8")
    assert "<blockquote>" not in text and text.count('class="gp">&gt;&gt;&gt;') > 20


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_pages_fit_the_window_and_show_their_pictures(
    size: Size, scheme: Any, address: str, open_page: OpenPage
) -> None:
    page = open_page(address, size)
    page.emulate_media(color_scheme=scheme)
    # Each load notes its own colours for the next visit.
    page.add_init_script("localStorage.clear()")
    for path in (
        "index",
        "start_here",
        "concepts/lmo_norms",
        "reference/verbs",
        "contributors/architecture",
        "scaling",
    ):
        page.goto(f"{address}/{path}.html")
        assert horizontal_overflow(page) <= 0, path
        assert broken_pictures(page) == [], path
    # On the last page: the colours are those that the system asks for.
    wanted = {"light": "default", "dark": "slate"}[scheme]
    page.wait_for_function("wanted => document.body.dataset.mdColorScheme === wanted", arg=wanted, timeout=10_000)


def broken_pictures(page: Page) -> list[str]:
    page.wait_for_load_state("networkidle")
    return page.evaluate("[...document.images].filter(one => !one.naturalWidth).map(one => one.src)")
