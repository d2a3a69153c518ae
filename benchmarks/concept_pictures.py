"""Draw the pictures of docs/concepts/ from `steadydecay.theory` and small simulations.

    python benchmarks/concept_pictures.py [NAME ...]

Every picture is one function here, and its name is that of the file docs/concepts/NAME.svg.
"""

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import torch
from matplotlib.figure import Figure

import steadydecay as sd

FOLDER = Path(__file__).parents[1] / "docs/concepts"
STEPS, LR, DECAY = 1000, 0.1, 0.02
COSINE = [LR * 0.5 * (1 + math.cos(math.pi * step / STEPS)) for step in range(STEPS)]
CONSTANT = [DECAY * lr / LR for lr in COSINE]
CORRECTED = [DECAY * (lr / LR) ** 2 for lr in COSINE]


def effective_lr(axes: Any) -> None:
    momenta = [step / 1000 for step in range(981)]
    axes.semilogy(momenta, [sd.theory.effective_lr(1.0, beta) for beta in momenta])
    axes.set(xlabel="momentum β", ylabel="γ_eff ÷ γ", title="What momentum makes of the learning rate")


def steady_norm(axes: Any) -> None:
    steady = sd.theory.steady_norm_sq(LR, DECAY)
    for start, style in ((0, "-"), (2, "--")):
        norms_sq = sd.theory.forecast([LR] * 300, DECAY, 0.0, initial_norm_sq=start**2 * steady)
        axes.plot([norm_sq**0.5 for norm_sq in norms_sq], style, label=f"starts at {start:g} × the steady norm")
    axes.axhline(steady**0.5, color="gray", linestyle=":", label="steady norm √S")
    axes.set(xlabel="step", ylabel="√(E‖θ‖²/E‖u‖²)", title="Every start ends at one norm", ylim=(0, None))
    axes.legend()


def corrected_decay(axes: Any) -> None:
    axes.plot([lr / LR for lr in COSINE], "k:", label="learning rate ÷ its peak")
    for name, decay, style in (("constant λ", CONSTANT, "--"), ("corrected, λ ∝ γ", CORRECTED, "-")):
        axes.plot([norm_sq**0.5 for norm_sq in _forecast(decay)], style, label=name)
    axes.set(xlabel="step", ylabel="√(E‖θ‖²/E‖u‖²)", title="A cosine learning rate", ylim=(0, None))
    axes.legend()


def lmo_norms(axes: Any) -> None:
    correlations = [step / 200 for step in range(201)]
    for name, lmo, style in (
        ("Bias, rows, columns (many entries)", ("vector", 1024), ":"),
        ("Spectral, 64 × 256", ("spectral", 64, 256), "-."),
        ("Spectral, 64 × 64", ("spectral", 64, 64), "-"),
        ("Sign", "sign", "--"),
    ):
        axes.plot(correlations, [sd.theory.correlation(rho, lmo) for rho in correlations], style, label=name)
    axes.set(xlabel="correlation ρ of momenta", ylabel="correlation φ(ρ) of updates", title="What an LMO keeps")
    axes.legend()


def random_walk(axes: Any) -> None:
    for name, decay, style in (("constant λ", CONSTANT, "--"), ("corrected, λ ∝ γ", CORRECTED, "-")):
        walk = sd.theory.simulate(COSINE, decay, 0.0, dim=1024, lmo="sign", seed=0)
        (line,) = axes.plot([norm_sq**0.5 for norm_sq in walk], style, alpha=0.5, label=f"{name}: simulated")
        axes.plot(
            [norm_sq**0.5 for norm_sq in _forecast(decay)], ":", color=line.get_color(), label=f"{name}: forecast"
        )
    axes.set(xlabel="step", ylabel="√(‖θ‖²/E‖u‖²)", title="Pure noise under a cosine", ylim=(0, None))
    axes.legend()


def output_layer(axes: Any) -> None:
    for role, style in (("hidden", "--"), ("output", "-")):
        axes.plot(*_update_cosines(role), style, label=f"{role} layer")
    axes.axhline(0, color="gray", linestyle=":")
    axes.set(xlabel="step", ylabel="cosine of update and weights", title="Below zero, the update lengthens the weights")
    axes.legend()


def _forecast(decay: list[float]) -> list[float]:
    return sd.theory.forecast(COSINE, decay, 0.0, lmo="sign")


def _update_cosines(role: str) -> tuple[list[int], list[float]]:
    """Of a classifier of two layers whose classes a teacher decides, under AdamW without momentum.

    Momentum alone makes the cosine negative in every layer, and so does a hidden layer that no normalisation follows.
    """
    torch.manual_seed(0)
    teacher = torch.randn(32, 8)
    hidden, normalisation = torch.nn.Linear(32, 128), torch.nn.LayerNorm(128)
    model = torch.nn.Sequential(hidden, normalisation, torch.nn.ReLU(), torch.nn.Linear(128, 8))
    optimizer = torch.optim.AdamW(sd.param_groups(model, "adamw", lr=0.005, weight_decay=1.0), betas=(0.0, 0.95))
    watch, steps, cosines = sd.watch(optimizer, every=10), [], []
    for step in range(1, 601):
        inputs = torch.randn(64, 32)
        torch.nn.functional.cross_entropy(model(inputs), (inputs @ teacher).argmax(1)).backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % 10 == 0:
            steps.append(step)
            cosines.append(watch.metrics(layers=())[f"group/{role}/update_cosine"])
    return steps, cosines


PICTURES: dict[str, Callable[[Any], None]] = {
    function.__name__: function
    for function in (effective_lr, steady_norm, corrected_decay, lmo_norms, random_walk, output_layer)
}


def draw(name: str, folder: Path = FOLDER) -> None:
    """Writes docs/concepts/NAME.svg, without a date, so that only a change of the picture changes the file."""
    with matplotlib.rc_context({"svg.hashsalt": name, "font.size": 9}):
        figure = Figure(figsize=(5.6, 3.4), layout="constrained")
        PICTURES[name](figure.subplots())
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


if __name__ == "__main__":
    for chosen in sys.argv[1:] or PICTURES:
        draw(chosen)
