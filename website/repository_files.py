"""A hook of mkdocs: pages link to files of the repository outside docs/ as readers of the repository need it.

On the site such a file lies below repository/. Pages keep one spelling of a link, which works in both places.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
DOCS, REPOSITORY = "docs/", "repository/"
LINK = re.compile(r"(\]\()(?![a-z]+:)([^)#\s]+)")


def on_files(files: Files, config: Any) -> Files:
    """Adds every file outside docs/ that a page links to, and those that the added pages link to."""
    waiting = [file.src_uri for file in files.documentation_pages()]
    waiting += [uri for uri in pages_of_nav(config.nav) if uri.startswith(REPOSITORY)]
    seen: set[str] = set()
    while waiting:
        uri = waiting.pop()
        if uri in seen:
            continue
        seen.add(uri)
        source = ROOT / repository_path(uri)
        if uri.startswith(REPOSITORY) and source.is_file():
            files.append(File.generated(config, uri, abs_src_path=str(source)))
        if uri.endswith(".md") and source.is_file():
            linked = links(source.read_text(encoding="utf-8"), uri)
            waiting += [target for target in linked if target.startswith(REPOSITORY)]
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turns the links of the repository into those of the site."""
    uri = page.file.src_uri
    folder = posixpath.dirname(uri)
    return LINK.sub(lambda link: link[1] + posixpath.relpath(site_uri(link[2], uri), folder or "."), markdown)


def links(markdown: str, uri: str) -> list[str]:
    """Where the links of a page lead on the site."""
    return [site_uri(link[2], uri) for link in LINK.finditer(markdown)]


def site_uri(link: str, uri: str) -> str:
    """The place on the site of the file that a page links to; of one that does not exist too, so that mkdocs says so.

    >>> site_uri("../results/fig1/figure.png", "reproduction.md"), site_uri("../runs.md", "howto/resume.md")
    ('repository/results/fig1/figure.png', 'runs.md')
    >>> site_uri("docs/log.md", "repository/CONTRIBUTING.md")
    'log.md'
    """
    path = posixpath.normpath(posixpath.join(posixpath.dirname(repository_path(uri)), link))
    return path.removeprefix(DOCS) if path.startswith(DOCS) else REPOSITORY + path


def repository_path(uri: str) -> str:
    """The file in the repository of a page on the site."""
    return uri.removeprefix(REPOSITORY) if uri.startswith(REPOSITORY) else DOCS + uri


def pages_of_nav(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    elif nav:
        for part in nav.values() if isinstance(nav, dict) else nav:
            yield from pages_of_nav(part)
