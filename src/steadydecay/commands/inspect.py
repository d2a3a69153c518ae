"""`steadydecay inspect`: what a checkpoint's weights are, beside what theory says they become."""

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
# More than any name is long.
WIDEST = 1000


@dataclass
class Inspect:
    """List each weight's norms beside the steady state that hyperparameters, stored or given, predict."""

    file: tyro.conf.Positional[GivenPath]
    """A .safetensors or .pt file, an index.json of shards, or a folder: a model's or a run's."""
    lr: float | None = None
    """The learning rate at the peak. With it, options replace whatever is stored."""
    weight_decay: float | None = None
    """PyTorch's coefficient, at the peak; or --decay."""
    decay: float | None = None
    """lr times weight_decay: the share of a weight removed per step."""
    optimizer: OptimizerName | None = None
    """What trained the weights; by default adamw. A correction changes nothing at the peak."""
    output_lr: float | None = None
    """lr of output layer and embeddings, where it differs."""
    momentum: float | None = None
    """Of scion (0.9) or muon (0.95)."""
    nesterov: bool | None = None
    """Of scion (off) or muon (on)."""
    betas: tuple[float, float] | None = None
    """Of adamw (0.9 0.999) or lion (0.9 0.99)."""
    norm: str | None = None
    """Of scion's hidden matrices (spectral)."""
    at: At = "peak"
    """Stored lr to predict for: the schedule's peak, or the present one."""
    tolerance: float = 0.2
    """Share by which a norm may differ from its prediction before it is marked."""
    sort: Sort = "name"
    """Largest first; ratio: farthest from the prediction first."""
    top: int | None = None
    """Show the first so many."""
    spectral: bool = True
    """Measure spectral norms, which takes most of the time."""
    format: Format | None = None
    """By default as the suffix of --out says, else table."""
    out: Path | None = None
    """File to write to."""

    def run(self) -> None:
        given = self._given()
        require_in("--tolerance", self.tolerance, 0, 1, include_low=True, remedy="0.2 is 20 %")
        if self.top is not None:
            require_in("--top", self.top, 1, include_low=True)
        if given.is_given and self.at == "now":
            raise ValueError(
                "--at is 'now', which is for stored hyperparameters; with --lr it says the lr: leave it out"
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
            raise ValueError(f"--out is {self.out}, which is what is inspected; give another file")
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
        # Numbers stay whole on any terminal; in a file or a pipe each weight has one line.
        console.print(layer_table(layers, self.tolerance, console.width if is_fixed else WIDEST), soft_wrap=True)
        console.print()
        if len(layers) < len(inspection.layers):
            console.print(f"{len(layers)} of {len(inspection.layers)} weights are shown.", highlight=False)
        for note in notes_on(inspection, self.tolerance):
            console.print(printable(note), markup=False, highlight=False)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal's standard error that goes away; nothing elsewhere."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("reading")
        yield lambda done, total: progress.update(task, completed=done, total=total)
