"""What the README shows runs and prints what it says."""

import re
from pathlib import Path
from typing import Any

import torch

import steadydecay as sd
from page_blocks import NUMBER, run_python_blocks, wrong_numbers
from steadydecay.recipes.gpt.model import GPT

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_python_runs_from_top_to_bottom() -> None:
    names: dict[str, Any] = {"torch": torch, "model": GPT(256, layers=3, heads=2, width=128)}
    assert len(run_python_blocks(README, names)) >= 3
    described = sd.describe(names["optimizer"].param_groups)
    shown = re.search(r"```\n(role .*?)```", README, re.DOTALL)
    assert shown is not None
    for line in shown[1].replace(" ...", "").splitlines():
        assert any(real.startswith(line) for real in described.splitlines()), line


def test_numbers_in_comments_are_what_the_call_gives() -> None:
    assert NUMBER.search(README)
    assert wrong_numbers(README, {"sd": sd}) == []


def test_every_public_name_is_in_the_table() -> None:
    assert not [name for name in sd.__all__ if f"sd.{name}" not in README]


def test_links_and_folders_exist() -> None:
    root = Path(__file__).parent.parent
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", README)
    assert not [link for link in links if not (root / link).exists()]
    tree = re.findall(r"^  ([\w/.]+(?:, [\w/.]+)*)  ", README, re.MULTILINE)
    files = [name for line in tree for name in line.split(", ")]
    assert len(files) > 15
    assert not [name for name in files if not (root / "src/steadydecay" / name).exists()]


def test_the_files_that_contributing_names_exist() -> None:
    root = Path(__file__).parent.parent
    text = (root / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = [name for name in re.findall(r"`([\w/.]+\.(?:py|md|toml))`", text) if "/" in name]
    assert len(named) > 20
    assert not [name for name in named if not ((root / name).exists() or (root / "src/steadydecay" / name).exists())]
