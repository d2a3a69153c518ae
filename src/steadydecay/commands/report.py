"""`steadydecay report`."""

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


@dataclass
class Report:
    """Write one page about runs: which is better and why, what to change, and the pictures; or follow runs live."""

    runs: tyro.conf.Positional[tuple[GivenPath, ...]]
    """The runs to report: folders of runs, folders of such folders, or run.jsonl files."""
    out: GivenPath = Path("report.html")
    """The file to which the page is written."""
    png: bool = False
    """Also draw the panels into a PNG beside the page."""
    figure: Path | None = None
    """Also draw the panels into this file, for papers. Its suffix chooses PNG, SVG or PDF."""
    follow: bool = False
    """Write nothing; serve the page on this machine (127.0.0.1) and refresh it while training goes on."""
    port: int = 0
    """The port for --follow. 0 takes any free port."""

    def run(self) -> None:
        if self.follow:
            self._require_no_pictures()
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

    def _require_no_pictures(self) -> None:
        for name in ("png", "figure"):
            if getattr(self, name):
                raise ValueError(f"{name} is given beside follow, which writes nothing; leave one of them out")

    def _serve(self) -> None:
        report = LiveReport(self.runs)
        report.current()
        with server_for(report, self.port) as server:
            print(f"report: http://127.0.0.1:{server.server_port}/  (Ctrl-C ends)", flush=True)
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                print("ended", flush=True)
