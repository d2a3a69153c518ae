"""Export an inspection as JSON, CSV or a self-contained HTML page."""

import csv
import io
import json
import math
from collections.abc import Sequence
from html import escape
from typing import Any

from steadydecay.inspection.inspected import Inspection
from steadydecay.inspection.inspected_layers import Layer
from steadydecay.inspection.layer_table import FAR, number, printable, shape_text
from steadydecay.inspection.notes import notes_on
from steadydecay.inspection.plain_names import short_name

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1200px; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; } .scroll { overflow-x: auto; }
td, th { padding: .2rem .6rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }
td:first-child, th:first-child { text-align: left; white-space: normal; overflow-wrap: break-word; }
td:first-child { min-width: 11rem; } th { white-space: normal; vertical-align: bottom; }
tr.far { background: #fdecea; } h1 { font-size: 1.4rem; overflow-wrap: anywhere; }
"""
HEADER = ("weight", "shape", "role", "RMS", "steady RMS", "‖θ‖", "steady ‖θ‖", "σ max of each matrix", "ratio", "")


def layer_records(layers: Sequence[Layer], tolerance: float) -> list[dict[str, Any]]:
    """Return plain values of each layer, with None for what is unknown or not finite."""
    return [
        {
            "name": layer.name,
            "tied": list(layer.weight.tied),
            "shape": list(layer.weight.shape),
            "dtype": layer.weight.dtype,
            "role": layer.role,
            "rms": _finite(layer.measures.rms),
            "norm": _finite(layer.measures.norm),
            "spectral_norms": [_finite(one) for one in layer.measures.spectral],
            "predicted_rms": _finite(layer.predicted_rms),
            "predicted_norm": _finite(layer.predicted_norm),
            "ratio": _finite(layer.ratio),
            "is_far": layer.is_far(tolerance),
            "non_finite": layer.measures.non_finite,
            "settings": None if layer.settings is None else layer.settings.text,
        }
        for layer in layers
    ]


def as_json(inspection: Inspection, layers: Sequence[Layer], tolerance: float) -> str:
    """Return one object with title, files, steps, tolerance, settings, layers, buffers and notes."""
    content = {
        "title": inspection.title,
        "files": [str(path) for path in inspection.files],
        "steps": inspection.steps,
        "tolerance": tolerance,
        "settings": inspection.settings_lines,
        "layers": layer_records(layers, tolerance),
        "buffers": [{"name": one.name, "shape": list(one.shape), "dtype": one.dtype} for one in inspection.buffers],
        "notes": notes_on(inspection, tolerance),
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def as_csv(layers: Sequence[Layer], tolerance: float) -> str:
    """Return a header and a line for each layer. Several values in one cell are separated by spaces."""
    records = layer_records(layers, tolerance)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(records[0]), lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow(
            {key: " ".join(map(str, cell)) if isinstance(cell, list) else cell for key, cell in record.items()}
        )
    return text.getvalue()


def as_html(inspection: Inspection, layers: Sequence[Layer], tolerance: float) -> str:
    """Return a page that needs no other file, with settings, table and notes."""
    title = escape(printable(inspection.title))
    header = "".join(f"<th>{escape(cell)}</th>" for cell in HEADER)
    rows = "".join(_html_row(layer, tolerance) for layer in layers)
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>steadydecay: {title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head><body>
<h1>{title}</h1>{_html_list(inspection.settings_lines)}
<div class="scroll"><table><thead><tr>{header}</tr></thead><tbody>{rows}</tbody></table></div>
{_html_list(notes_on(inspection, tolerance))}</body></html>
"""


def _html_row(layer: Layer, tolerance: float) -> str:
    cells = (printable(short_name(layer.name)), shape_text(layer.weight.shape), printable(layer.role))
    cells += (number(layer.measures.rms), number(layer.predicted_rms))
    cells += (number(layer.measures.norm), number(layer.predicted_norm))
    cells += (" ".join(map(number, layer.measures.spectral)), number(layer.ratio))
    is_far = layer.is_far(tolerance)
    cells += (FAR if is_far else "",)
    start = '<tr class="far">' if is_far else "<tr>"
    # Long names may break at their dots.
    first, *others = (f"<td>{escape(cell)}</td>" for cell in cells)
    return start + first.replace(".", ".<wbr>") + "".join(others) + "</tr>\n"


def _html_list(sentences: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(printable(one))}</li>" for one in sentences) + "</ul>" if sentences else ""


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
