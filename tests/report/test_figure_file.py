"""Figures as files: of the kind that the suffix says, with texts that stay texts, whole or not at all."""

from pathlib import Path

import matplotlib
import pytest
from matplotlib.figure import Figure

from steadydecay.report.figure_file import write_figure


def figure() -> Figure:
    made = Figure(figsize=(2, 2))
    made.subplots().set_ylabel("norm ‖θ‖")
    return made


@pytest.mark.parametrize(
    ("name", "start"), [("a.png", b"\x89PNG\r\n"), ("a.svg", b"<?xml"), ("a.pdf", b"%PDF-"), ("below/A.PDF", b"%PDF-")]
)
def test_the_suffix_says_the_kind(name: str, start: bytes, tmp_path: Path) -> None:
    path = write_figure(figure(), tmp_path / name)
    assert path == tmp_path / name and path.read_bytes().startswith(start)
    assert list(path.parent.iterdir()) == [path]


def test_text_stays_text_in_fonts_that_journals_take(tmp_path: Path) -> None:
    before = str(matplotlib.rcParams["pdf.fonttype"]), matplotlib.rcParams["svg.fonttype"]
    assert ">norm ‖θ‖</text>" in write_figure(figure(), tmp_path / "a.svg").read_text(encoding="utf-8")
    pdf = write_figure(figure(), tmp_path / "a.pdf").read_bytes()
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf
    assert (str(matplotlib.rcParams["pdf.fonttype"]), matplotlib.rcParams["svg.fonttype"]) == before != ("42", "none")


@pytest.mark.parametrize("name", ["a", "a.gif", "a.jpg", ".png", "a.png/b", "png"])
def test_another_kind_is_refused_and_nothing_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^figure is '.*'; its name must end in one of \.png, \.svg, \.pdf$"):
        write_figure(figure(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_what_stood_there_stays_if_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(OSError, match="file"):
        write_figure(figure(), tmp_path / "file" / "a.png")
    assert (tmp_path / "file").read_text() == "old"
