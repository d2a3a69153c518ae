"""The picture: a PNG in which each optimizer has its colour."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from steadydecay.recipes.run_log import RunLog
from steadydecay.report.picture import write_picture
from steadydecay.report.style import style_of


def write_run(folder: Path, optimizer: str, norm: float, until: int = 100) -> None:
    configuration = {"optimizer": optimizer, "seed": 0, "steps": 100}
    with RunLog.open(folder / "run.jsonl", configuration=configuration, resume_step=None) as log:
        for step in range(1, until + 1):
            measures = {"weight_norm": {"hidden": norm}, "gradient_norm": {"hidden": norm / 8}}
            log.write("step", step=step, loss=1.0, **measures)


def colours_of(path: Path) -> dict[str, int]:
    """How many pixels have the colour of each optimizer."""
    pixels = imread(path)[..., :3]
    styles = {name: to_rgb(colour) for name, (colour, _) in style_of(["scion", "scionc", "adamw"]).items()}
    return {name: int((np.abs(pixels - colour).max(axis=-1) < 0.02).sum()) for name, colour in styles.items()}


def test_the_picture_is_a_png_in_which_each_optimizer_is_drawn(tmp_path: Path) -> None:
    for norm, name in enumerate(("scionc", "scion", "adamw"), start=3):
        for seed in (0, 1):
            write_run(tmp_path / f"{name}-seed{seed}", name, norm + seed / 4)
    path = write_picture(tmp_path, tmp_path / "picture.png")
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    height, width, _ = imread(path).shape
    assert 1000 <= width <= 3000 and 300 <= height <= width
    assert path.stat().st_size < 500_000
    assert min(colours_of(path).values()) > 500


def test_only_the_runs_of_the_folder_are_drawn(tmp_path: Path) -> None:
    write_run(tmp_path / "scionc-seed0", "scionc", 3.0)
    assert colours_of(write_picture(tmp_path, tmp_path / "picture.png"))["scion"] < 50


@pytest.mark.parametrize("until", [1, 30])
def test_a_run_cut_short_is_drawn_as_far_as_it_went(tmp_path: Path, until: int) -> None:
    write_run(tmp_path / "scion-seed0", "scion", 3.0, until)
    write_run(tmp_path / "scionc-seed0", "scionc", 4.0)
    path = write_picture(tmp_path, tmp_path / "picture.png")
    drawn = colours_of(path)
    assert drawn["scionc"] > drawn["scion"]


def test_a_folder_without_runs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no \*/run\.jsonl"):
        write_picture(tmp_path, tmp_path / "picture.png")
    assert not (tmp_path / "picture.png").exists()
