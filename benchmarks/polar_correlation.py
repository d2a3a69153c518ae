"""Correlation of the polar factors of correlated Gaussian matrices: Monte Carlo beside `theory.correlation`.

python benchmarks/polar_correlation.py            # prints docs/polar_correlation.md, writes the .json beside it
python benchmarks/polar_correlation.py --entries 1e6
"""

import argparse
import json
import math
from pathlib import Path

import torch
from torch import Tensor

from steadydecay.theory import correlation

RHOS = (0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.99)
# n ≤ m: aspect ratios from 1 to 64, sizes from 8 to 512, and a few below.
SHAPES = [
    *((n, n) for n in (2, 4, 8, 16, 32, 64, 128, 512)),
    *((8, 9), (16, 17), (32, 36), (64, 72), (8, 10), (16, 20), (32, 40), (12, 16), (48, 64), (384, 512)),
    *((2, 3), (8, 12), (32, 48), (128, 192), (2, 4), (8, 16), (32, 64), (256, 512), (8, 24), (64, 192)),
    *((8, 32), (64, 256), (8, 64), (32, 256), (8, 128), (32, 512), (8, 256), (8, 512)),
]
RESULTS = Path(__file__).parent / "results" / "polar_correlation.json"
PAGE = Path(__file__).parents[1] / "docs" / "polar_correlation.md"


def polar(matrices: Tensor) -> Tensor:
    """UVᵀ of (..., n, m), n ≤ m, by the eigenvalues of the n×n Gram matrix."""
    eigenvalues, vectors = torch.linalg.eigh(matrices @ matrices.mT)
    # Rounding may leave a nearly singular matrix an eigenvalue below 0.
    eigenvalues = eigenvalues.clamp_min(1e-15 * eigenvalues[..., -1:])
    return (vectors * eigenvalues.rsqrt().unsqueeze(-2)) @ vectors.mT @ matrices


def measure(rows: int, columns: int, entries: float, generator: torch.Generator) -> tuple[list[float], float]:
    """E⟨polar(A), polar(B)⟩/n at each ρ, and the largest standard error."""
    repeats = max(4, round(entries / (rows * columns)))
    chunk = max(1, round(1e6 / (rows * columns)))
    samples = []
    for start in range(0, repeats, chunk):
        shape = (min(chunk, repeats - start), rows, columns)
        first, other = (torch.randn(shape, dtype=torch.float64, generator=generator) for _ in range(2))
        reference = polar(first)
        mixed = (polar(rho * first + math.sqrt(1 - rho**2) * other) for rho in RHOS)
        samples.append(torch.stack([(reference * one).sum(dim=(-1, -2)) / rows for one in mixed]))
    every = torch.cat(samples, dim=1)
    return every.mean(dim=1).tolist(), (every.std(dim=1) / math.sqrt(every.shape[1])).max().item()


def page_of(results: dict[str, dict]) -> str:
    """The table of docs/polar_correlation.md."""
    lines = [
        "# Correlation of polar factors",
        "",
        "This page tests the formula for the correlation of the updates of a spectral layer",
        "([forecast_theory.md](forecast_theory.md), section 3). It is written by",
        "`python benchmarks/polar_correlation.py`.",
        "",
        "Each cell is the Monte Carlo mean of ⟨polar(A), polar(B)⟩/n for Gaussian n×m matrices A and B whose entries",
        'have correlation ρ, minus φ(ρ) of `theory.correlation(ρ, ("spectral", n, m))`, in units of 10⁻⁴.',
        "",
        "| n×m | " + " | ".join(f"ρ = {rho}" for rho in RHOS) + " | standard error |",
        "|---|" + "---|" * (len(RHOS) + 1),
    ]
    for name, one in results.items():
        rows, columns = map(int, name.split("×"))
        errors = [
            value - correlation(rho, ("spectral", rows, columns)) for rho, value in zip(RHOS, one["mean"], strict=True)
        ]
        cells = [f"{1e4 * error:+.0f}" for error in errors] + [f"{1e4 * one['standard_error']:.0f}"]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=float, default=2e7, help="matrix entries per shape")
    parser.add_argument("--dry", action="store_true", help="print only")
    arguments = parser.parse_args()
    generator, results = torch.Generator().manual_seed(20251208), {}
    for rows, columns in SHAPES:
        mean, standard_error = measure(rows, columns, arguments.entries, generator)
        results[f"{rows}×{columns}"] = {"mean": mean, "standard_error": standard_error}
    print(page_of(results))
    if not arguments.dry:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps({"rho": RHOS, "entries": arguments.entries, "shapes": results}, indent=1) + "\n")
        PAGE.write_text(page_of(results))


if __name__ == "__main__":
    main()
