"""`steadydecay forecast`."""

import sys
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console

from steadydecay.commands.given_path import GivenPath
from steadydecay.forecasting.forecast_page import write_page
from steadydecay.forecasting.forecast_panels import panels_of
from steadydecay.forecasting.forecast_picture import write_picture
from steadydecay.forecasting.forecast_record import forecast_record
from steadydecay.forecasting.forecast_table import forecast_table, suggestion_table
from steadydecay.forecasting.hyperparameters import Hyperparameters
from steadydecay.forecasting.kind_forecast import KindForecast, advice, forecast_kinds, unreached
from steadydecay.forecasting.plan import Plan, plan_of, plan_of_run, shares_of
from steadydecay.report.figure_file import require_figure_path
from steadydecay.run_log.record import json_line

# On a narrower terminal, the table's lines would wrap.
NARROWEST = 108
HYPERPARAMETERS = tuple(field.name for field in fields(Hyperparameters))
# The options that a run's log answers itself.
PLANNED = (*HYPERPARAMETERS, "shape", "model", "schedule", "warmup", "steps", "init_rms")


@dataclass
class Forecast:
    """Predict the weight norms of a run before it is trained, under constant and under corrected weight decay."""

    folder: tyro.conf.Positional[Path | None] = None
    """The folder of a run of `steadydecay train`. The forecast uses its settings and is shown beside its measurements.
    Without it, the other options describe a planned run."""
    shape: tyro.conf.UseAppendAction[list[str]] = field(default_factory=list)
    """The shape of layers, as d_out x d_in followed by role, norm and number of layers: 768x768, 3072x768:spectral,
    50304x768:output or 768x768:12. You may repeat this option, or use --model instead."""
    model: str | None = None
    """A transformers model: a config.json, its folder, or a type such as gpt2, which has its default configuration."""
    optimizer: str | None = None
    """The optimizer: scion (the default), adamw, lion, muon, or scionc_cosine, which lowers S during the run. The
    forecast shows both decay rules."""
    lr: float | None = None
    """The learning rate γ at the peak of the schedule."""
    output_lr: float | None = None
    """The learning rate γ of the output layer and of embeddings. Under muon, it applies to everything that is not
    hidden. The default is --lr."""
    weight_decay: float | None = None
    """The coefficient λ of weight decay, which a step multiplies by the learning rate. Use --decay-per-step or
    --steady-norm-sq as alternatives."""
    decay_per_step: float | None = None
    """The decay η, which is the share of the weight that a step removes at the peak of the schedule."""
    steady_norm_sq: float | None = None
    """The desired steady state S, which is E‖θ‖²/E‖u‖²."""
    momentum: float | None = None
    """The momentum β, or β₁. The default is 0.9, and 0.95 for muon."""
    beta2: float | None = None
    """Lion's β₂. The default is 0.99."""
    nesterov: bool = False
    """Use Nesterov momentum with scion."""
    schedule: str | None = None
    """The schedule: cosine (the default), linear, wsd or constant."""
    warmup: int | None = None
    """The steps of a linear warm-up. The default is 0."""
    steps: int | None = None
    """The number of optimizer steps."""
    init_rms: float | None = None
    """The RMS of all weights at the start. The default is that of steadydecay.init_, and 0 for adamw and lion."""
    wanted_rms: float | None = None
    """Suggest the decay with which the run ends at this RMS, and the decay whose steady state has it. If you give no
    decay, each rule is shown with the first of them."""
    json: bool = False
    """Print one line of JSON instead of tables."""
    html: bool = False
    """Also write forecast.html, a page with figures."""
    png: bool = False
    """Also write forecast.png."""
    figure: Path | None = None
    """Also draw the figures into this file, for papers. Its suffix selects PNG, SVG or PDF."""
    out: GivenPath = Path("runs/forecast")
    """The folder for forecast.html and forecast.png."""

    def run(self) -> None:
        pictures = [self.out / "forecast.png"] if self.png else []
        pictures += [] if self.figure is None else [require_figure_path(self.figure)]
        plan = self._plan() if self.folder is None else self._plan_of_run(self.folder)
        is_open = self._is_decay_open()
        wanted = {"wanted_rms": self.wanted_rms, "is_decay_open": is_open}
        forecasts = forecast_kinds(plan.kinds, plan.shares, run=plan.run, **wanted)
        notes = [f"The weights at the start are {plan.start}.", *unreached(forecasts), *advice(forecasts)]
        if plan.steady_norm_end is not None:
            notes.insert(1, f"Under corrected decay, S falls on a cosine to {plan.steady_norm_end:g} of its start.")
        if is_open:
            notes.insert(1, f"Each rule is shown with the decay that ends the run at an RMS of {self.wanted_rms:g}.")
        written = self._write(forecasts, notes, pictures)
        if self.json:
            sys.stdout.write(json_line(forecast_record(forecasts, len(plan.shares), notes)))
        else:
            self._print(forecasts, len(plan.shares), [*notes, *(f"written: {path}" for path in written)])

    def _plan(self) -> Plan:
        if self.lr is None or self.steps is None:
            missing = "lr" if self.lr is None else "steps"
            raise ValueError(f"{missing} is missing; give --lr, --steps and a decay, or the folder of a run")
        given: dict[str, Any] = {name: getattr(self, name) for name in HYPERPARAMETERS}
        given["optimizer"] = self.optimizer or "scion"
        if self._is_decay_open():
            given["decay_per_step"] = 0.0
        shares = shares_of(self.schedule or "cosine", self.steps, self.warmup or 0)
        return plan_of(self.shape, self.model, Hyperparameters(**given), shares, self.init_rms)

    def _is_decay_open(self) -> bool:
        decays = (self.weight_decay, self.decay_per_step, self.steady_norm_sq)
        return self.folder is None and self.wanted_rms is not None and all(decay is None for decay in decays)

    def _plan_of_run(self, folder: Path) -> Plan:
        default = Forecast()
        given = [name for name in PLANNED if getattr(self, name) != getattr(default, name)]
        if given:
            raise ValueError(
                f"{given[0]} is given together with folder {str(folder)!r}, whose log already says it; leave one out"
            )
        return plan_of_run(folder)

    def _write(self, forecasts: list[KindForecast], notes: list[str], pictures: list[Path]) -> list[Path]:
        panels = panels_of(forecasts) if self.html or pictures else []
        pages = [write_page(panels, notes, self.out / "forecast.html")] if self.html else []
        return pages + [write_picture(panels, path) for path in pictures]

    def _print(self, forecasts: list[KindForecast], steps: int, notes: list[str]) -> None:
        console = Console(width=max(Console().width, NARROWEST))
        console.print(forecast_table(forecasts, steps))
        if self.wanted_rms is not None:
            console.print()
            console.print(suggestion_table(forecasts, steps))
        console.print()
        for note in notes:
            console.print(note, soft_wrap=True, highlight=False, markup=False)
