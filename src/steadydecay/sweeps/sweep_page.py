"""The report of a sweep as one HTML page that needs no other file."""

from pathlib import Path

from steadydecay.report.standalone_page import Drawing, standalone_page, template_of
from steadydecay.report.style import title_of
from steadydecay.run_log.atomic_write import replace_file
from steadydecay.run_log.readable_text import utf8
from steadydecay.sweeps.setting_row import SettingRow
from steadydecay.sweeps.sweep_figure import colour_range, sweep_figure
from steadydecay.sweeps.sweep_map import unfinished_in_words
from steadydecay.sweeps.sweep_report import SweepReport
from steadydecay.sweeps.sweep_words import TITLES, counts_in_words, ranking_in_words


def write_sweep_page(report: SweepReport, path: Path) -> Path:
    """Write the page, and create missing folders.

    Raises:
        OSError: The file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, [utf8(_page(report))])
    return path


def _page(report: SweepReport) -> str:
    colours = colour_range(report.maps)
    drawings = [
        Drawing.of(f"map-{index}", sweep_figure(one, colours, report.ranking.best))
        for index, one in enumerate(report.maps)
    ]
    has_top1 = any("top1" in setting.spreads for setting in report.settings)
    measures = ("validation loss", "accuracy") if has_top1 else ("validation loss",)
    content = template_of("steadydecay.sweeps", "sweep_content.html").render(
        name=report.name,
        counts=counts_in_words(report.rows),
        sentences=ranking_in_words(report.ranking),
        title=TITLES[report.ranking.measure],
        maps=[(one, title_of(one.title), drawn) for one, drawn in zip(report.maps, drawings, strict=True)],
        header=(*report.rows[0].setting, "seeds", *measures, "not finished"),
        settings=[_cells(setting, has_top1) for setting in _ranked(report)],
        unfinished=[row for row in report.rows if row.message],
    )
    return standalone_page(f"sweep {report.name}", content)


def _ranked(report: SweepReport) -> list[SettingRow]:
    """Sort settings from the best on, with those without a finished trial last."""
    measure = report.ranking.measure
    sign = -1 if measure == "top1" else 1

    def place(setting: SettingRow) -> tuple[bool, float]:
        spread = setting.spreads.get(measure)
        return spread is None, 0.0 if spread is None else sign * spread.mean

    return sorted(report.settings, key=place)


def _cells(setting: SettingRow, has_top1: bool) -> tuple[str, ...]:
    measures = ("val_loss", "top1") if has_top1 else ("val_loss",)
    spreads = (str(setting.spreads[name]) if name in setting.spreads else "–" for name in measures)
    finished = str(setting.counts.get("finished", 0))
    return (*setting.setting.values(), finished, *spreads, unfinished_in_words(setting.counts))
