"""A figure as a file: the suffix says whether for a page (PNG, SVG) or for a paper (PDF)."""

from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from steadydecay.run_log.atomic_write import replace_file

SUFFIXES = (".png", ".svg", ".pdf")
DOTS_PER_INCH = 150
# Text stays text, in fonts of Type 42 in a PDF: journals refuse those of Type 3, which matplotlib takes otherwise.
TEXTS: dict[Any, Any] = {"pdf.fonttype": 42, "svg.fonttype": "none"}


def require_figure_path(path: Path) -> Path:
    """The path itself.

    Raises:
        ValueError: its suffix names none of the kinds of file.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"figure is {str(path)!r}; legal are files that end in {', '.join(SUFFIXES)}")
    return path


def write_figure(figure: Figure, path: Path) -> Path:
    """Write the figure as what the path's suffix says; folders above it are made.

    Raises:
        ValueError: as `require_figure_path`.
        OSError: the file cannot be written.
    """
    kind = require_figure_path(path).suffix.lower().removeprefix(".")
    drawn = BytesIO()
    with matplotlib.rc_context(TEXTS):
        figure.savefig(drawn, dpi=DOTS_PER_INCH, format=kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, [drawn.getvalue()])
    return path
