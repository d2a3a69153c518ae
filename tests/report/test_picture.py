"""The picture: a PNG in which each variant has its colour."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from report_logs import write_run
from steadydecay.report.measure_panels import measure_panels
from steadydecay.report.picture import write_panels, write_picture
from steadydecay.report.runs import load_all
from steadydecay.report.style import COLOURS
from steadydecay.report.variants import variants_of


def colours_of(path: Path) -> list[int]:
    """How many pixels have the colour of each of three variants."""
    pixels = imread(path)[..., :3]
    return [int((np.abs(pixels - to_rgb(colour)).max(axis=-1) < 0.02).sum()) for colour in COLOURS[:3]]


def test_the_picture_of_compare_is_a_png_in_which_each_optimizer_is_drawn(tmp_path: Path) -> None:
    for name in ("scionc", "scion", "adamw"):
        for seed in (0, 1):
            write_run(tmp_path / f"{name}-seed{seed}", name, seed=seed, loss=1.5)
    path = write_picture(tmp_path, tmp_path / "picture.png")
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    height, width, _ = imread(path).shape
    assert 1000 <= width <= 3000 and 300 <= height <= width
    assert path.stat().st_size < 500_000
    assert min(colours_of(path)) > 300


def test_all_panels_are_drawn_for_a_paper(tmp_path: Path) -> None:
    write_run(tmp_path / "scionc", "scionc")
    few = write_picture(tmp_path, tmp_path / "few.png")
    every = write_panels(load_all([tmp_path])[0], tmp_path / "all.png")
    assert imread(every).shape[0] > 3 * imread(few).shape[0], "eleven panels in four rows"
    assert colours_of(every)[0] > 3 * colours_of(few)[0]


def test_every_panel_says_what_its_axes_are(tmp_path: Path) -> None:
    write_run(tmp_path / "scionc", "scionc")
    runs, _ = load_all([tmp_path])
    drawn = write_panels(runs, tmp_path / "all.svg").read_text(encoding="utf-8")
    panels = measure_panels(variants_of(runs))[0]
    assert drawn.count(">step</text>") == len(panels) > 9
    for axis in {panel.measure.axis for panel in panels}:
        assert drawn.count(f">{axis}</text>") == sum(panel.measure.axis == axis for panel in panels)


def test_only_the_runs_of_the_folder_are_drawn(tmp_path: Path) -> None:
    write_run(tmp_path / "scionc-seed0", "scionc")
    assert colours_of(write_picture(tmp_path, tmp_path / "picture.png"))[1] < 50


@pytest.mark.parametrize("until", [1, 30])
def test_a_run_cut_short_is_drawn_as_far_as_it_went(tmp_path: Path, until: int) -> None:
    write_run(tmp_path / "scion-seed0", "scion", until=until)
    write_run(tmp_path / "scionc-seed0", "scionc")
    scionc, scion, _ = colours_of(write_picture(tmp_path, tmp_path / "picture.png"))
    assert scionc > scion


def test_names_with_dollars_are_no_formulas(tmp_path: Path) -> None:
    write_run(tmp_path / "run", r"$\frac$", settings={"a": 1})
    assert write_panels(load_all([tmp_path])[0], tmp_path / "all.png").stat().st_size > 10_000


def test_a_log_without_anything_gives_a_picture_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "run.jsonl").write_text("")
    assert write_panels(load_all([tmp_path])[0], tmp_path / "all.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_without_runs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"contains no \*/run\.jsonl"):
        write_picture(tmp_path, tmp_path / "picture.png")
    assert not (tmp_path / "picture.png").exists()
