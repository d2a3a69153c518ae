"""Write a figure to a file whose suffix selects the format: PNG or SVG for pages, PDF for papers."""

from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from steadydecay.run_log.atomic_write import replace_file

SUFFIXES = (".png", ".svg", ".pdf")
DOTS_PER_INCH = 150
# Keep text as text, in Type 42 fonts in a PDF, because journals refuse Type 3, which is matplotlib's default.
TEXTS: dict[Any, Any] = {"pdf.fonttype": 42, "svg.fonttype": "none"}


def require_figure_path(path: Path) -> Path:
    """Return the path itself.

    Raises:
        ValueError: Its suffix is none of the supported formats.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"figure is {str(path)!r}; its name must end in one of {', '.join(SUFFIXES)}")
    return path


def write_figure(figure: Figure, path: Path) -> Path:
    """Write the figure in the format of the path's suffix, and create missing folders.

    Raises:
        ValueError: As for `require_figure_path`.
        OSError: The file cannot be written.
    """
    kind = require_figure_path(path).suffix.lower().removeprefix(".")
    drawn = BytesIO()
    with matplotlib.rc_context(TEXTS):
        figure.savefig(drawn, dpi=DOTS_PER_INCH, format=kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, [drawn.getvalue()])
    return path
