"""A finding is printed whole, and says what does not hold."""

from pathlib import Path

import pytest
from rich.console import Console

from steadydecay.experiments.outcome import Outcome


def printed(width: int) -> str:
    finding = Outcome(
        claim="it falls",
        columns=("run with a long name", "norm at the end", "share"),
        rows=[("first", "123.4567", "0.9512"), ("second", "0.0003", "∞")],
        verdicts={"it falls at all": True, "it falls to 0": False},
        picture=Path("out/picture.png"),
    )
    console = Console(width=width)
    with console.capture() as capture:
        console.print(finding.shown())
    return capture.get()


@pytest.mark.parametrize("width", [40, 100])
def test_claim_numbers_verdicts_and_picture_are_printed(width: int) -> None:
    lines = [line.rstrip() for line in printed(width).splitlines()]
    assert lines[0] == "claim: it falls"
    assert lines[-3:] == ["holds: it falls at all", "DOES NOT HOLD: it falls to 0", "picture: out/picture.png"]
    assert any(line.split() == ["first", "123.4567", "0.9512"] for line in lines)
    assert any(line.split() == ["second", "0.0003", "∞"] for line in lines)


def test_a_row_of_another_length_is_an_error() -> None:
    finding = Outcome("c", ("a", "b"), [("1", "2", "3")], {}, Path("p"))
    with pytest.raises(ValueError, match="argument"):
        finding.shown()
