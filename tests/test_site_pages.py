"""What the pages of the site show runs and prints what they say, and every picture is made by a command."""

import importlib
import re
import shlex
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from mkdocs.utils.yaml import yaml_load

from page_blocks import blocks_of, run_python_blocks, wrong_numbers
from steadydecay.cli import main

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(
    str(path.relative_to(DOCS)) for path in (*DOCS.glob("*/*.md"), DOCS / "index.md", DOCS / "start_here.md")
)
# What a training command of a page gets here, so that it ends within a second or two.
SMALL = ["layers=1", "heads=1", "width=8", "length=8", "batch_size=2", "steps=2", "evaluation_batches=1"]
# What a command leaves in the folder in which it is given.
LEAVES = {"forecast": [], "train": ["runs"], "report": ["report.html", "runs"]}
ITEM = re.compile(r"^ *(?:[-*]|\d+\.) ")
# Commands that set up an environment or start many processes; what they name must exist.
NOT_RUN_HERE = ("make", "pip", "torchrun")


@pytest.fixture
def readers_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_cpu_thread: None) -> Path:
    """An empty folder, in a process that torchrun might have started alone."""
    monkeypatch.chdir(tmp_path)
    one_process = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "0"}
    for name, value in one_process.items():
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, ModuleType]]:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    names = ("concept_pictures", "architecture_drawing")
    try:
        yield {name: importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
        for name in names:
            sys.modules.pop(name, None)


def pages_of_the_site() -> list[Path]:
    return [*DOCS.rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "examples").rglob("*.md")]


def python_pages() -> list[str]:
    return [page for page in PAGES if blocks_of((DOCS / page).read_text(encoding="utf-8"), "python")]


def command_lines() -> list[tuple[str, str]]:
    texts = [(page, (DOCS / page).read_text(encoding="utf-8")) for page in PAGES]
    return [(page, line) for page, text in texts for block in blocks_of(text, "sh") for line in block.splitlines()]


@pytest.mark.parametrize("page", python_pages())
def test_python_of_a_page_runs_from_top_to_bottom_and_gives_its_numbers(page: str, readers_place: Path) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": "page"}
    run_python_blocks(text, names)
    assert wrong_numbers(text, names) == []


@pytest.mark.parametrize(("page", "line"), command_lines())
def test_a_command_of_a_page_runs(
    page: str, line: str, tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch, one_cpu_thread: None
) -> None:
    program, *arguments = shlex.split(line)
    if program in NOT_RUN_HERE:
        assert_what_it_names_exists(program, arguments, page)
        return
    assert program == "steadydecay"
    monkeypatch.chdir(tmp_path)
    small_run = ["--data", str(text), *SMALL]
    if arguments[0] == "report":
        main(["train", "gpt", "--optimizer", "scionc", "--out", "runs/demo/scionc-seed0", *small_run])
    main(arguments + (small_run if arguments[0] == "train" else []))
    assert sorted(path.name for path in tmp_path.iterdir()) == LEAVES[arguments[0]]


def assert_what_it_names_exists(program: str, arguments: list[str], page: str) -> None:
    if program == "make":
        assert f"\n{arguments[0]}: " in (ROOT / "Makefile").read_text(encoding="utf-8")
    elif program == "torchrun":
        assert f"as `{arguments[-1]}`" in (DOCS / page).read_text(encoding="utf-8")
    else:
        assert arguments == ["install", "PATH_OF_THE_CLONE"]


def test_every_block_of_code_is_of_a_language_that_runs() -> None:
    for page in PAGES:
        text = (DOCS / page).read_text(encoding="utf-8")
        assert text.count("```") == 2 * sum(len(blocks_of(text, language)) for language in ("python", "sh")), page


@pytest.mark.parametrize("page", sorted(str(path.relative_to(ROOT)) for path in pages_of_the_site()))
def test_the_lists_and_equations_of_a_page_are_lists_and_equations_on_the_site(page: str) -> None:
    assert misread_lines((ROOT / page).read_text(encoding="utf-8")) == []


def test_what_a_forge_shows_as_a_list_and_the_site_does_not_is_found() -> None:
    assert misread_lines("Text:\n- one\n- two") == ["- one"]
    assert misread_lines("1. One\n   - below") == ["   - below"]
    assert misread_lines("- one:\n\n      x = 1\n\n  More.") == ["      x = 1", "  More."]
    assert misread_lines("Text:\n\n- one\n  more\n    - below\n\n        x = 1\n\n    More.\n\n```\n\n  x\n```") == []


def misread_lines(markdown: str) -> list[str]:
    """Lines that Python-Markdown reads as text: items without a blank line above, and depths that 4 does not divide."""
    lines = re.sub(r"^```.*?^```", "", markdown, flags=re.MULTILINE | re.DOTALL).splitlines()
    found = []
    for above, line in pairwise(["", *lines]):
        depth = len(line) - len(line.lstrip())
        is_item = bool(ITEM.match(line))
        interrupts = is_item and re.match(r"[^\s#]", above) and not ITEM.match(above)
        if interrupts or (line.strip() and depth % 4 and (is_item or not above.strip())):
            found.append(line)
    return found


def test_every_page_of_a_concept_has_the_picture_that_its_command_draws(
    scripts: dict[str, ModuleType], tmp_path: Path
) -> None:
    pictures = scripts["concept_pictures"]
    concepts = {path.stem for path in pictures.FOLDER.glob("*.md")}
    assert concepts == pictures.PICTURES.keys()
    for name in concepts:
        text = (pictures.FOLDER / f"{name}.md").read_text(encoding="utf-8")
        assert f"({name}.svg)" in text and f"`python benchmarks/concept_pictures.py {name}`" in text
        assert "## The two equations" in text and (pictures.FOLDER / f"{name}.svg").is_file()
    pictures.draw("lmo_norms", tmp_path)
    assert (tmp_path / "lmo_norms.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_the_architecture_is_that_of_the_imports_of_today(scripts: dict[str, ModuleType]) -> None:
    drawn = scripts["architecture_drawing"]
    assert drawn.DRAWING.read_text(encoding="utf-8") == drawn.drawing()


def test_every_page_of_docs_is_in_the_navigation_once() -> None:
    nav = yaml_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    listed = [one for one in leaves(nav) if not one.startswith("repository/")]
    assert sorted(listed) == sorted({*listed, *(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))})


def leaves(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    return [leaf for part in (nav.values() if isinstance(nav, dict) else nav) for leaf in leaves(part)]
