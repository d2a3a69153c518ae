"""`steadydecay inspect`: compare a checkpoint's weights with the norms that theory predicts."""

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console
from rich.progress import Progress

from steadydecay.commands.given_path import GivenPath
from steadydecay.inspection.given_settings import GivenSettings, OptimizerName
from steadydecay.inspection.inspected import Inspection, inspect_checkpoint
from steadydecay.inspection.inspected_layers import Layer, Sort, sorted_layers
from steadydecay.inspection.layer_export import as_csv, as_html, as_json
from steadydecay.inspection.layer_table import layer_table, printable
from steadydecay.inspection.notes import notes_on
from steadydecay.inspection.stored_settings import At
from steadydecay.run_log.atomic_write import replace_file
from steadydecay.run_log.readable_text import utf8
from steadydecay.theory.validation import require_in

Format = Literal["table", "json", "csv", "html"]
FORMAT_OF_SUFFIX: dict[str, Format] = {".json": "json", ".csv": "csv", ".html": "html", ".htm": "html"}
# Longer than any name.
WIDEST = 1000


@dataclass
class Inspect:
    """List the norms of each weight in a checkpoint beside their predicted steady state.

    The prediction follows from the hyperparameters in the file, or from those that you give.
    """

    file: tyro.conf.Positional[GivenPath]
    """The checkpoint: a .safetensors or .pt file, an index.json of shards, or the folder of a model or a run."""
    lr: float | None = None
    """The learning rate at the peak. If you give it, the options replace all stored hyperparameters."""
    weight_decay: float | None = None
    """PyTorch's coefficient of weight decay at the peak. You may give --decay instead."""
    decay: float | None = None
    """The share of a weight that is removed per step, which is lr times weight_decay."""
    optimizer: OptimizerName | None = None
    """The optimizer that trained the weights. The default is adamw. A corrected decay makes no difference at the
    peak."""
    output_lr: float | None = None
    """The learning rate of the output layer and of embeddings, if it is different."""
    momentum: float | None = None
    """The momentum of scion (default 0.9) or muon (default 0.95)."""
    nesterov: bool | None = None
    """Whether scion (default no) or muon (default yes) uses Nesterov momentum."""
    betas: tuple[float, float] | None = None
    """The betas of adamw (default 0.9 0.999) or lion (default 0.9 0.99)."""
    norm: str | None = None
    """The norm of scion's hidden matrices. The default is spectral."""
    at: At = "peak"
    """The stored learning rate to predict for: that at the peak of the schedule (peak), or the current one (now)."""
    tolerance: float = 0.2
    """The share by which a norm may differ from its prediction before it is marked with !."""
    sort: Sort = "name"
    """The order of the rows. A measure puts the largest values first, and ratio puts those farthest from the prediction
    first."""
    top: int | None = None
    """Show only this many rows."""
    spectral: bool = True
    """Measure spectral norms, which takes most of the time."""
    format: Format | None = None
    """The format of the output. By default the suffix of --out decides; without --out it is a table."""
    out: Path | None = None
    """The file to write to. By default the output goes to the terminal."""

    def run(self) -> None:
        given = self._given()
        require_in("--tolerance", self.tolerance, 0, 1, include_low=True, remedy="0.2 is 20 %")
        if self.top is not None:
            require_in("--top", self.top, 1, include_low=True)
        if given.is_given and self.at == "now":
            raise ValueError(
                "--at is 'now', which selects a stored learning rate, but --lr gives one; leave one of them out"
            )
        with _progress() as on_entries:
            inspection = inspect_checkpoint(
                self.file, given, self.at, with_spectral=self.spectral, on_entries=on_entries
            )
        layers = sorted_layers(inspection.layers, self.sort)[: self.top]
        self._write(inspection, layers)

    def _given(self) -> GivenSettings:
        return GivenSettings(
            lr=self.lr,
            weight_decay=self.weight_decay,
            decay=self.decay,
            optimizer=self.optimizer,
            output_lr=self.output_lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            betas=self.betas,
            norm=self.norm,
        )

    def _write(self, inspection: Inspection, layers: list[Layer]) -> None:
        form = self.format or FORMAT_OF_SUFFIX.get(self.out.suffix if self.out else "", "table")
        texts: dict[str, Callable[[], str]] = {
            "json": lambda: as_json(inspection, layers, self.tolerance),
            "csv": lambda: as_csv(layers, self.tolerance),
            "html": lambda: as_html(inspection, layers, self.tolerance),
        }
        if form == "table" and self.out is None:
            self._print(Console(), inspection, layers)
            return
        text = texts[form]() if form in texts else self._table_text(inspection, layers)
        if self.out is None:
            sys.stdout.write(text)
            return
        if self.out.resolve() in {path.resolve() for path in (inspection.main, *inspection.files)}:
            raise ValueError(f"--out is {self.out}, which is the file to inspect; give another file")
        self.out.parent.mkdir(parents=True, exist_ok=True)
        replace_file(self.out, [utf8(text)])

    def _table_text(self, inspection: Inspection, layers: list[Layer]) -> str:
        text = io.StringIO()
        self._print(Console(file=text), inspection, layers)
        return text.getvalue()

    def _print(self, console: Console, inspection: Inspection, layers: list[Layer]) -> None:
        for line in (inspection.title, *inspection.settings_lines):
            console.print(printable(line), markup=False, highlight=False)
        console.print()
        is_fixed = console.is_terminal or "COLUMNS" in os.environ
        # Numbers stay whole on any terminal. In a file or a pipe, each weight has one line.
        console.print(layer_table(layers, self.tolerance, console.width if is_fixed else WIDEST), soft_wrap=True)
        console.print()
        if len(layers) < len(inspection.layers):
            console.print(f"Showing {len(layers)} of {len(inspection.layers)} weights.", highlight=False)
        for note in notes_on(inspection, self.tolerance):
            console.print(printable(note), markup=False, highlight=False)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Show a temporary bar on a terminal's standard error, and nothing elsewhere."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("reading")
        yield lambda done, total: progress.update(task, completed=done, total=total)
