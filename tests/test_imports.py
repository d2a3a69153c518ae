"""Imports run down the README's list of rooms, and no file imports, by any way round, what imports it."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src/steadydecay"
# At the package's root beside the rooms: the index of public names, below all of them, and the two that load them.
FILES_AT_ROOT = {"__init__.py", "cli.py", "public_names.py"}


def rooms() -> list[str]:
    """The README's tree, from the ground up."""
    tree = re.search(r"```\nsrc/steadydecay/\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert tree is not None
    return re.findall(r"^  (\w+)/ ", tree[1], re.MULTILINE)


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> Iterator[str]:
    """Modules of the package that a file imports, wherever in it the line stands."""
    modules = all_modules()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module in modules:
            assert node.level == 0, f"{path} has a relative import"
            below = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in modules else node.module for name in below)


@cache
def all_modules() -> dict[str, Path]:
    return {module_name(path): path for path in SOURCE.rglob("*.py")}


def level_of(module: str) -> int:
    """Where a module stands from the ground up: the index of names, the rooms, and what loads them."""
    room = module.split(".")[1] if "." in module else "__init__"
    below = {"public_names": -1, "cli": len(rooms()), "__init__": len(rooms()) + 1}
    return below[room] if room in below else rooms().index(room)


def upward(module: str) -> list[str]:
    return [other for other in imported(all_modules()[module]) if level_of(other) > level_of(module)]


def test_every_folder_is_a_room_of_the_tree_and_few_files_stand_beside_them() -> None:
    folders = {path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(rooms()) and len(rooms()) == len(set(rooms()))
    assert {path.name for path in SOURCE.glob("*.py")} == FILES_AT_ROOT


@pytest.mark.parametrize("module", sorted(all_modules()))
def test_imports_run_downwards(module: str) -> None:
    assert not upward(module), f"{module} is below {upward(module)} in the README's tree"


def test_no_file_imports_what_imports_it() -> None:
    arrows = {module: {other for other in imported(path) if other != module} for module, path in all_modules().items()}
    circle = find_circle(arrows)
    assert not circle, " -> ".join(circle)


def find_circle(arrows: dict[str, set[str]]) -> list[str]:
    """Some circle, from a module back to itself, or nothing."""
    done: set[str] = set()

    def walk(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        found = next((circle for other in sorted(arrows[module]) if (circle := walk(other, [*path, module]))), [])
        done.add(module)
        return found

    return next((circle for module in sorted(arrows) if (circle := walk(module, []))), [])


def test_a_circle_would_be_found() -> None:
    assert find_circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": set()}) == ["a", "b", "c", "a"]
    assert find_circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_tests_mirror_the_source() -> None:
    """Every folder of tests is a folder of the source."""
    folders = {path.parent.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")}
    assert not {str(folder) for folder in folders if not (SOURCE / folder).is_dir()}


def test_no_file_name_means_two_things() -> None:
    """A name twice is one that means the same: a command and what it runs, and what a recipe is."""
    names = [path.name for path in SOURCE.rglob("*.py") if path.name != "__init__.py"]
    twice = {name for name in names if names.count(name) > 1}
    assert twice <= {"compare.py", "train.py", "recipe.py", "model.py"}
