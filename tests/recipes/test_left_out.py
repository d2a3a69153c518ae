"""What is left out of the data: counted by reason, the first of each named, said once."""

import warnings
from pathlib import Path

import pytest

from steadydecay.recipes.left_out import HIDDEN, LINKED_FOLDER, LeftOut, warn_left_out


def test_names_are_counted_by_reason_and_the_first_are_named() -> None:
    left_out = LeftOut()
    for number in range(1_007):
        left_out.add(f"{number}", HIDDEN)
    left_out.add("a/b", LINKED_FOLDER)
    left_out.add("seen", "")
    assert str(left_out) == (
        "1,007 hidden: 0, 1, 2, 3, 4, 1,002 more; 1 behind a link to a folder, which is not followed: a/b"
    )


def test_one_warning_says_all_and_none_is_given_for_nothing() -> None:
    left_out = LeftOut()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_left_out(Path("corpus"), left_out)
    for name in ("a", "b"):
        left_out.add(name, HIDDEN)
    with pytest.warns(UserWarning, match=r"^Training on corpus leaves out 2 hidden: a, b$") as warned:
        warn_left_out(Path("corpus"), left_out)
    assert len(warned) == 1
