"""The steady norm against momentum and decay: simulated, by Eq. 3, and exact for each LMO (arXiv 2512.08217, v3)."""

import math
import statistics
from collections.abc import Iterable
from typing import NamedTuple

from steadydecay.experiments.criterion import Criterion
from steadydecay.experiments.experiment import Experiment, Finding, Part, Runs
from steadydecay.experiments.panels import Line, Panel
from steadydecay.experiments.run_measures import mean_and_deviation
from steadydecay.theory import effective_lr, simulate, steady_norm_sq
from steadydecay.theory.lmo_correlation import Lmo

MOMENTA = (0.0, 0.5, 0.9, 0.98)
DECAYS = (0.002, 0.01, 0.05)
LMOS: dict[str, Lmo] = {"Bias": "linear", "Sign": "sign"}
DIMENSION = 4096
SEEDS = 3
# In memories of the slower of decay and momentum: after these the start is forgotten, and over these the mean is taken.
FORGET, AVERAGE = 6, 12
# Where η is this far below 1-β, Eq. 3 leaves out less than 5 %.
MUCH_SMALLER = 0.05
CRITERIA = {
    "exact": Criterion(
        "mean |relative difference| of the simulated S from the exact one of its LMO, over all settings", high=0.02
    ),
    "eq3": Criterion("the same of Eq. 3 for Bias, over settings with η ≤ 0.05 (1-β)", high=0.06),
    "beyond": Criterion("the same of Eq. 3 for Bias, over settings with η > 0.5 (1-β)", low=0.1),
}


class Simulated(NamedTuple):
    """S of one setting, simulated for each seed and predicted."""

    norm: str
    momentum: float
    decay: float
    found: list[float]
    exact: float

    @property
    def eq3(self) -> float:
        """γ_eff²/(2η) at γ = 1."""
        return effective_lr(1.0, self.momentum) ** 2 / (2 * self.decay)


def examine(runs: Runs) -> Finding:
    """Simulate every setting; a simulation has no runs."""
    found = [simulated(norm, momentum, decay) for norm in LMOS for momentum in MOMENTA for decay in DECAYS]
    bias = [one for one in found if one.norm == "Bias"]
    slow = [one for one in bias if one.decay <= MUCH_SMALLER * (1 - one.momentum)]
    fast = [one for one in bias if one.decay > 0.5 * (1 - one.momentum)]
    values = {
        "exact": _mean_differences((one.found, one.exact) for one in found),
        "eq3": _mean_differences((one.found, one.eq3) for one in slow),
        "beyond": _mean_differences((one.found, one.eq3) for one in fast),
    }
    rows = [
        (
            f"{one.norm}, β = {one.momentum:g}, η = {one.decay:g}",
            mean_and_deviation(one.found, 2),
            f"{one.exact:.2f}",
            f"{one.eq3:.2f}",
        )
        for one in found
    ]
    panels = [_panel([one for one in found if one.norm == norm], norm) for norm in LMOS]
    return Finding(values, panels, ("E‖θ‖²/E‖u‖² at γ = 1", "simulated", "exact for the LMO", "Eq. 3"), rows)


def simulated(norm: str, momentum: float, decay: float) -> Simulated:
    """The mean of ‖θ‖²/E‖u‖² over many memories, for each seed."""
    exact = steady_norm_sq(1.0, decay, momentum, lmo=LMOS[norm])
    memory = max(1 / (2 * decay), 1 / (1 - momentum))
    average, found = math.ceil(AVERAGE * memory), []
    for seed in range(SEEDS):
        # From the steady state on, so that only momentum has to be forgotten.
        steps = math.ceil(FORGET * memory) + average
        squares = simulate(
            [1.0] * steps, decay, momentum, lmo=LMOS[norm], initial_norm_sq=exact, dim=DIMENSION, seed=seed
        )
        found.append(statistics.fmean(squares[-average:]))
    return Simulated(norm, momentum, decay, found, exact)


def _mean_differences(settings: Iterable[tuple[list[float], float]]) -> list[float]:
    """By seed: the mean over settings of |found ÷ predicted - 1|."""
    differences = [[abs(value / predicted - 1) for value in found] for found, predicted in settings]
    return [statistics.fmean(of_seed) for of_seed in zip(*differences, strict=True)]


def _panel(found: list[Simulated], norm: str) -> Panel:
    lines = []
    for decay in DECAYS:
        of_decay = [one for one in found if one.decay == decay]
        x = [1 - one.momentum for one in of_decay]
        lines.append(Line(f"η = {decay:g}, exact", x, [one.exact for one in of_decay]))
        lines.append(Line(f"η = {decay:g}, Eq. 3", x, [one.eq3 for one in of_decay]))
        lines.append(
            Line(f"η = {decay:g}, simulated", x, [statistics.fmean(one.found) for one in of_decay], is_points=True)
        )
    return Panel(norm, "α = 1 - β", "S", lines, is_log_x=True, is_log_y=True)


STEADY_NORM = Experiment(
    title="the steady norm against momentum and decay",
    claim="The simulated steady norm is the exact one of its LMO; Eq. 3 holds where η is far below 1-β, and is wrong "
    "beyond.",
    paper="The paper's third version simulates the steady norm for several momenta and decays beside Eq. 3.",
    parts=[Part(None, CRITERIA, examine)],
)
