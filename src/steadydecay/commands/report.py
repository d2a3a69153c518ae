"""`steadydecay report`."""

from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

from steadydecay.commands.given_path import GivenPath
from steadydecay.report.follow import LiveReport, server_for
from steadydecay.report.picture import write_panels
from steadydecay.report.report_page import write_page
from steadydecay.report.runs import load_all


@dataclass
class Report:
    """Write one page about runs: which is better and why, what to change, and the pictures; or follow runs live."""

    runs: tyro.conf.Positional[tuple[GivenPath, ...]]
    """Folders of runs, folders of such folders, or run.jsonl files."""
    out: GivenPath = Path("report.html")
    """The page."""
    png: bool = False
    """Draw the panels into a PNG beside the page, too, for papers."""
    follow: bool = False
    """Write nothing; serve the page on this machine (127.0.0.1) and refresh it while training goes on."""
    port: int = 0
    """For --follow; 0 takes any free one."""

    def run(self) -> None:
        if self.follow:
            self._serve()
        else:
            self._write()

    def _write(self) -> None:
        runs, missing = load_all(self.runs)
        written = {"report": write_page(runs, missing, self.out)}
        if self.png:
            written["picture"] = write_panels(runs, self.out.with_suffix(".png"))
        for what, path in written.items():
            Console().print(f"{what}: {path}", soft_wrap=True, highlight=False)

    def _serve(self) -> None:
        report = LiveReport(self.runs)
        report.current()
        with server_for(report, self.port) as server:
            print(f"report: http://127.0.0.1:{server.server_port}/  (Ctrl-C ends)", flush=True)
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                print("ended", flush=True)
