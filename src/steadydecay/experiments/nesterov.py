"""γ_eff and the steady norm under Nesterov momentum: predicted, simulated, and in training (arXiv 2512.08217, v3)."""

import statistics

from steadydecay.experiments.criterion import Criterion
from steadydecay.experiments.curves import curves_of
from steadydecay.experiments.experiment import Experiment, Finding, Part, Runs, of_both_kinds
from steadydecay.experiments.panels import Line, Panel
from steadydecay.experiments.rows import usual_table
from steadydecay.experiments.run_measures import gap, mean_and_deviation, pairs, weight_norm
from steadydecay.recipes.recipe import Fields, Recipe
from steadydecay.theory import effective_lr, simulate, steady_norm_sq

MOMENTA = (0.5, 0.8, 0.9, 0.95)
DECAY = 0.005
DIMENSION = 4096
STEPS, AVERAGED = 1500, 1000
SEEDS = 3
PLAIN, NESTEROV, SAME_LR = "plain momentum", "Nesterov, the same γ_eff", "Nesterov, the same γ and η"
SIMULATED = {
    "exact": Criterion(
        "mean |relative difference| of the simulated S under Nesterov from the predicted one", high=0.02
    ),
    "differs": Criterion("simulated S of plain momentum over that under Nesterov, β = 0.5", low=1.2),
}
TRAINED = {
    "norm": Criterion(
        "mean relative difference of ‖θ‖ between Nesterov and plain momentum at one γ_eff, second half", high=0.1
    ),
}


def simulate_all(runs: Runs) -> Finding:
    """S with each momentum, with and without Nesterov; a simulation has no runs."""
    found = {
        (momentum, nesterov): [_simulated(momentum, nesterov, seed) for seed in range(SEEDS)]
        for momentum in MOMENTA
        for nesterov in (False, True)
    }
    exact = {setting: steady_norm_sq(1.0, DECAY, setting[0], nesterov=setting[1]) for setting in found}
    differences = [[abs(value / exact[beta, True] - 1) for value in found[beta, True]] for beta in MOMENTA]
    values = {
        "exact": [statistics.fmean(of_seed) for of_seed in zip(*differences, strict=True)],
        "differs": [one / other for one, other in zip(found[0.5, False], found[0.5, True], strict=True)],
    }
    rows = [
        (
            f"β = {beta:g}, {'Nesterov' if nesterov else 'plain'}",
            mean_and_deviation(found[beta, nesterov], 2),
            f"{exact[beta, nesterov]:.2f}",
            f"{effective_lr(1.0, beta, nesterov):.3f}",
        )
        for beta, nesterov in found
    ]
    lines = []
    for nesterov, name in ((False, "plain"), (True, "Nesterov")):
        lines.append(Line(f"{name}, predicted", MOMENTA, [exact[beta, nesterov] for beta in MOMENTA]))
        means = [statistics.fmean(found[beta, nesterov]) for beta in MOMENTA]
        lines.append(Line(f"{name}, simulated", MOMENTA, means, is_points=True))
    panel = Panel(f"steady norm at η = {DECAY:g}", "β", "S", lines, is_log_y=True)
    return Finding(values, [panel], ("momentum", "S, simulated", "S, predicted", "γ_eff ÷ γ"), rows)


def _simulated(momentum: float, nesterov: bool, seed: int) -> float:
    start = steady_norm_sq(1.0, DECAY, momentum, nesterov=nesterov)
    squares = simulate(
        [1.0] * STEPS, DECAY, momentum, nesterov=nesterov, initial_norm_sq=start, dim=DIMENSION, seed=seed
    )
    return statistics.fmean(squares[-AVERAGED:])


def variants(plain: Recipe) -> dict[str, Fields]:
    ratio = effective_lr(1.0, plain.momentum) / effective_lr(1.0, plain.momentum, True)
    same = {"lr": plain.lr * ratio, "output_lr": plain.output_lr * ratio}
    return {
        PLAIN: {"optimizer": "scionc"},
        NESTEROV: {"optimizer": "scionc", "nesterov": True, **same},
        SAME_LR: {"optimizer": "scionc", "nesterov": True},
    }


def examine(runs: Runs) -> Finding:
    values = {"norm": [gap(one, other, weight_norm, 0.5) for one, other in pairs(runs[NESTEROV], runs[PLAIN])]}
    return Finding(values, curves_of(runs), *usual_table(runs, "momentum"))


NESTEROV_CASE = Experiment(
    title="Nesterov momentum",
    claim="With Nesterov momentum the simulated steady norm is the predicted one, and at the γ_eff of plain momentum "
    "training has the same ‖θ‖.",
    paper="The paper's third version adds the Nesterov case.",
    parts=[Part(None, SIMULATED, simulate_all), *of_both_kinds(variants, TRAINED, examine, vit=3, gpt=3)],
    paper_kind="vit",
)
