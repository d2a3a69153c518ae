"""The frame of a page of figures, which needs no network, no other file, and no script but its own two."""

import base64
import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import Self, final

import plotly.graph_objects as go
from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup
from plotly.offline import get_plotlyjs

OWN_PACKAGE = "steadydecay.report"
# Scripts run only if their hash is listed, and nothing is fetched, whatever a name in a log may contain.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; script-src {hashes}; connect-src {server}"


@final
@dataclass(frozen=True)
class Drawing:
    """A figure in its place on the page."""

    key: str
    height: int
    json: Markup

    @classmethod
    def of(cls, key: str, figure: go.Figure) -> Self:
        content = str(figure.to_json())
        # plotly writes "<" and ">" as \\u escapes; a name that could end the script element would be a security hole.
        assert "<" not in content
        return cls(key, int(figure.layout.height), Markup(content))


def standalone_page(title: str, content: str, *, live_version: str = "") -> str:
    """Return the page with this title whose <main> contains `content` (HTML). With a version, it asks for changes."""
    scripts = [get_plotlyjs(), _source(OWN_PACKAGE, "page.js")]
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    return template_of(OWN_PACKAGE, "page.html").render(
        title=title,
        policy=Markup(POLICY.format(hashes=hashes, server="'self'" if live_version else "'none'")),
        style=Markup(_source(OWN_PACKAGE, "page.css")),
        scripts=[Markup(script) for script in scripts],
        content=Markup(content),
        live_version=live_version,
    )


def template_of(package: str, name: str) -> Template:
    """Load a template from a package. Everything that it is given is escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_source(package, name))


def _source(package: str, name: str) -> str:
    return files(package).joinpath(name).read_text(encoding="utf-8")
