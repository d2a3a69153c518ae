"""`steadydecay report`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

from steadydecay.commands.given_path import GivenPath
from steadydecay.report.figure_file import require_figure_path
from steadydecay.report.follow import LiveReport, server_for
from steadydecay.report.picture import write_panels
from steadydecay.report.report_page import write_page
from steadydecay.report.runs import load_all
from steadydecay.sweeps.sweep_page import write_sweep_page
from steadydecay.sweeps.sweep_report import sweep_report
from steadydecay.sweeps.sweep_tables import is_sweep, read_sweep
from steadydecay.sweeps.sweep_terminal import print_sweep


@dataclass
class Report:
    """Write a page about one or more runs, or follow them live.

    The page says which run is better and why, and what to change. For the folder of a sweep, it shows a map of the loss
    over two of the swept fields, and the best setting with its spread.
    """

    runs: tyro.conf.Positional[tuple[GivenPath, ...]]
    """The runs to report: folders of runs, folders of such folders, run.jsonl files, or the folder of one sweep."""
    out: GivenPath = Path("report.html")
    """The file to which the page is written."""
    png: bool = False
    """Also draw the panels into a PNG beside the page."""
    figure: Path | None = None
    """Also draw the panels into this file, for papers. Its suffix selects PNG, SVG or PDF."""
    follow: bool = False
    """Serve the page on this machine (127.0.0.1) and refresh it during training, without writing any file."""
    port: int = 0
    """The port for --follow. 0 takes any free port."""
    over: str | None = None
    """For a sweep, the one or two fields of the map (columns, then rows), such as lr,decay_per_step. The default is the
    fields with the most values."""
    measure: str | None = None
    """For a sweep, the measure of the map: val_loss (the default) or top1."""

    def run(self) -> None:
        if any(map(is_sweep, self.runs)):
            self._write_sweep()
            return
        self._require_not_given(("over", "measure"), "for runs, but only a sweep has a map")
        if self.follow:
            self._require_not_given(("png", "figure"), "together with --follow, which writes nothing")
            self._serve()
        else:
            self._write()

    def _write(self) -> None:
        pictures = [self.out.with_suffix(".png")] if self.png else []
        pictures += [] if self.figure is None else [require_figure_path(self.figure)]
        runs, missing = load_all(self.runs)
        written = [("report", write_page(runs, missing, self.out))]
        written += [("picture", write_panels(runs, path)) for path in pictures]
        for what, path in written:
            Console().print(f"{what}: {path}", soft_wrap=True, highlight=False)

    def _write_sweep(self) -> None:
        self._require_not_given(("follow", "png", "figure"), "for a sweep, whose report is one page and a table")
        if len(self.runs) > 1:
            raise ValueError(
                f"{len(self.runs)} folders are given, but one of them is that of a sweep; report on it alone"
            )
        folder = next(iter(self.runs))
        report = sweep_report(folder.resolve().name, read_sweep(folder), self.measure or "val_loss", self.over)
        print_sweep(report)
        Console().print(f"report: {write_sweep_page(report, self.out)}", soft_wrap=True, highlight=False)

    def _require_not_given(self, names: Sequence[str], why: str) -> None:
        for name in names:
            if getattr(self, name):
                raise ValueError(f"{name} is given {why}; leave it out")

    def _serve(self) -> None:
        report = LiveReport(self.runs)
        report.current()
        with server_for(report, self.port) as server:
            print(f"report: http://127.0.0.1:{server.server_port}/ (press Ctrl-C to stop)", flush=True)
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                print("ended", flush=True)
