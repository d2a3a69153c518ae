"""One self-contained HTML page about several runs, which needs no network and no other file."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from steadydecay.report.advice_of_runs import advice_for
from steadydecay.report.conclusion import conclusion
from steadydecay.report.figures import heat_map_figure, panel_figure
from steadydecay.report.gaps import gaps_of
from steadydecay.report.heatmap import HeatMap, heat_map_of
from steadydecay.report.measure_panels import measure_panels
from steadydecay.report.runs import Run, load_runs
from steadydecay.report.standalone_page import Drawing, standalone_page, template_of
from steadydecay.report.summary import summary_of
from steadydecay.report.summary_table import Column, columns_of, summary_row
from steadydecay.report.variants import Variant, differing_settings, setting_text, variants_of
from steadydecay.run_log.atomic_write import replace_file
from steadydecay.run_log.readable_text import utf8

# Further heat maps are folded.
OPEN_MAPS = 4


def write_report(folder: Path, path: Path) -> Path:
    """Write a page about all runs below `folder`.

    Raises:
        ValueError: The folder contains no run.
    """
    return write_page(load_runs(folder), [], path)


def write_page(runs: Sequence[Run], missing: Sequence[str], path: Path) -> Path:
    """Write the page about `runs`. `missing` says in words what was asked for but not found.

    Raises:
        OSError: The file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, [utf8(page_of(runs, missing))])
    return path


def page_of(runs: Sequence[Run], missing: Sequence[str], *, live_version: str = "") -> str:
    """Return the whole page. A page with a version asks its server for changes."""
    return page_around(content_of(runs, missing), runs, live_version=live_version)


def page_around(content: str, runs: Sequence[Run], *, live_version: str = "") -> str:
    """Return the page whose <main> contains `content`, which `content_of` made of these runs."""
    title = " · ".join(variant.label for variant in variants_of(runs))
    return standalone_page(title, content, live_version=live_version)


def content_of(runs: Sequence[Run], missing: Sequence[str]) -> str:
    """Return what is inside the page's <main>, which is all that changes during a run."""
    variants = variants_of(runs)
    panels, undrawn = measure_panels(variants)
    maps = _heat_maps(variants)
    columns = columns_of(map(summary_of, runs))
    return template_of("steadydecay.report", "content.html").render(
        variants=variants,
        conclusion=conclusion(variants),
        header=("run", "seeds", "steps", *columns),
        rows=[_row(variant, columns) for variant in variants],
        advice=advice_for(variants),
        gaps=[*missing, *gaps_of(runs, undrawn)],
        panels=[(panel, Drawing.of(panel.measure.key, panel_figure(panel))) for panel in panels],
        maps=[(run, cells, Drawing.of(f"heat-{i}", heat_map_figure(cells))) for i, (run, cells) in enumerate(maps)],
        open_maps=OPEN_MAPS,
        verdicts=_verdicts(variants),
        runs=runs,
        differences=differing_settings(runs),
        setting_text=setting_text,
    )


def _heat_maps(variants: Sequence[Variant]) -> list[tuple[Run, HeatMap]]:
    """Return one heat map for each run with layers, first seeds first."""
    most = max((len(variant.runs) for variant in variants), default=0)
    runs = [variant.runs[seed] for seed in range(most) for variant in variants if seed < len(variant.runs)]
    maps = [(run, heat_map_of(run)) for run in runs]
    return [(run, cells) for run, cells in maps if cells is not None]


def _row(variant: Variant, columns: Mapping[str, Column]) -> tuple[str, ...]:
    """Use the seeds that have come furthest, because a mean over different steps would be meaningless."""
    furthest = max(run.steps_done for run in variant.runs)
    counted = [run for run in variant.runs if run.steps_done == furthest]
    label, seeds, *cells = summary_row(variant.label, [summary_of(run) for run in counted], columns)
    if len(counted) < len(variant.runs):
        seeds = f"{seeds} of {len(variant.runs)}"
    return (label, seeds, _progress(counted[0]), *cells)


def _progress(run: Run) -> str:
    if run.steps_done < run.steps_planned:
        return f"{run.steps_done:,} of {run.steps_planned:,}"
    return f"{run.steps_done:,}"


def _verdicts(variants: Sequence[Variant]) -> list[tuple[Run, Counter[str]]]:
    return [(run, Counter(run.verdicts.values())) for variant in variants for run in variant.runs if run.verdicts]
