"""From the text of a grid and the rows of a list to settings."""

import itertools
import re
from pathlib import Path

import pytest

from steadydecay.sweeps.sweep_settings import axes_of, combined, listed_settings


@pytest.mark.parametrize(
    ("texts", "axes"),
    [
        ([], {}),
        (["lr=0.01"], {"lr": ("0.01",)}),
        (["lr=1e-2, 2E-3,.4", "clip=none,1"], {"lr": ("1e-2", "2E-3", ".4"), "clip": ("none", "1")}),
        ([' data = "a,b.txt",c d.txt'], {"data": ("a,b.txt", "c d.txt")}),
        (["data=a=b,c"], {"data": ("a=b", "c")}),
        (['data="say ""x"""'], {"data": ('say "x"',)}),
    ],
)
def test_a_grid_names_fields_and_values(texts: list[str], axes: dict[str, tuple[str, ...]]) -> None:
    assert axes_of(texts) == axes


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["lr"], "grid is 'lr'; it must be a field and its values, such as lr=0.01,0.02,0.04"),
        (["=1"], "grid is '=1'; it must"),
        (["lr="], "grid is 'lr='; it must"),
        (["lr=1,,2"], "grid is 'lr=1,,2', which has an empty value between commas; remove that comma"),
        (["lr=1,"], "grid is 'lr=1,', which has an empty value"),
        (['data="a,b'], "grid is 'data=\"a,b', whose quotes do not match"),
        (["lr=1", "lr=2"], "grid names 'lr' twice; give all its values at once, as in lr=VALUE,VALUE"),
    ],
)
def test_a_wrong_grid_is_refused_with_what_is_legal(texts: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        axes_of(texts)


def test_rows_of_csv_are_settings_and_an_empty_cell_is_left_to_the_others(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text('lr, clip,data\n0.01,none,"a,b"\n\n 2e-2 ,,c\n')
    assert listed_settings(path) == [{"lr": "0.01", "clip": "none", "data": "a,b"}, {"lr": "2e-2", "data": "c"}]


def test_lines_of_json_are_settings(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    path.write_text('{"lr": 0.01, "clip": null, "compile": true}\n\n{"optimizer": "adamw", "steps": 40}\n')
    expected = [{"lr": "0.01", "clip": "none", "compile": "true"}, {"optimizer": "adamw", "steps": "40"}]
    assert listed_settings(path) == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "which has no trial; it needs at least one row"),
        ("a.csv", "lr,clip\n", "which has no trial"),
        ("a.csv", "lr,lr\n1,2\n", "whose header is 'lr,lr'; its field names must be different"),
        ("a.csv", "lr,\n1,2\n", "whose header is 'lr,'"),
        ("a.csv", "lr\n1\n1,2\n", "line 3 has 2 cells but the header has 1"),
        ("a.jsonl", '{"lr": 1}\n[1]\n', "line 2 is '[1]'; it must be JSON such as"),
        ("a.jsonl", '{"lr": [1, 2]}\n', "line 1 is '{\"lr\": [1, 2]}'"),
        ("a.jsonl", "lr\n", "line 1 is 'lr'"),
        ("a.jsonl", "\n", "which has no trial"),
    ],
)
def test_a_wrong_list_is_refused_and_the_line_named(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=re.escape(message)):
        listed_settings(tmp_path / name)


def test_every_row_meets_every_point_of_the_grid_and_every_default_that_it_does_not_name() -> None:
    defaults = {"optimizer": ("scion", "adamw"), "seed": ("0", "1")}
    settings = combined([{"lr": "1"}, {"lr": "2", "seed": "7"}], {"clip": ("3", "4")}, defaults)
    plain = [
        {"lr": "1", "clip": clip, "optimizer": optimizer, "seed": seed}
        for clip, optimizer, seed in itertools.product(("3", "4"), ("scion", "adamw"), ("0", "1"))
    ]
    seeded = [
        {"lr": "2", "seed": "7", "clip": clip, "optimizer": optimizer}
        for clip, optimizer in itertools.product(("3", "4"), ("scion", "adamw"))
    ]
    assert settings == plain + seeded


def test_a_grid_may_name_the_optimizer() -> None:
    settings = combined([{}], {"optimizer": ("lion",)}, {"optimizer": ("scionc",), "seed": ("0",)})
    assert settings == [{"optimizer": "lion", "seed": "0"}]


def test_a_field_in_grid_and_list_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^grid and list both set 'lr'; remove it from one of them$"):
        combined([{"lr": "1"}], {"lr": ("2",)}, {})
