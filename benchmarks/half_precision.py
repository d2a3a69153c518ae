"""What float16 and bfloat16 make of Polar Express on a GPU, with its rounding emulated on the CPU: a Markdown table.

    python benchmarks/half_precision.py        # a minute

Spectra and gradients are those of tests/polar/test_forms.py; "edges" are one large singular value over many equal ones,
swept so that these land on the edges of the polynomials' intervals.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "polar"))

from tensor_cores import TensorCores
from test_forms import SPECTRA, gaussian, gpt_gradients, matrices_of

from steadydecay.polar import exact_polar
from steadydecay.polar.coefficients import PUBLISHED_COEFFICIENTS
from steadydecay.polar.forms import fused, gram, plain
from steadydecay.tensors.unit_vectors import unit_vectors

Form = Callable[..., Tensor]
SHAPES = [(128, 128), (128, 384), (512, 128), (256, 256)]
SEGMENTS = [(2, 1, 2), (2, 2, 1), (2, 3), (3, 2), (5,)]
# One restart and a larger factor throughout, as in Gram Newton-Schulz (Dao, Zhang, Amsel, Chen 2026).
PUBLISHED = [(2, 3), (3, 2)]
SAFETIES = [1.0, 1.01, 1.05]


def stacks() -> dict[str, list[Tensor]]:
    """Unit matrices in float64, by kind, in stacks of one shape."""
    names = ["gaussian", *SPECTRA]
    spectra = [torch.stack([matrices_of(name, shape) for name in names]) for shape in SHAPES]
    gradients = [gradient.reshape(-1, *gradient.shape[-2:]) for gradient in gpt_gradients()]
    gradients = [stack for stack in gradients if min(stack.shape[-2:]) >= 32]
    kinds = {"spectra": spectra, "edges": [edges(shape) for shape in SHAPES[:2]], "gradients": gradients}
    return {kind: [unit_vectors(stack, dim=(-2, -1)) for stack in all_shapes] for kind, all_shapes in kinds.items()}


def edges(shape: tuple[int, int]) -> Tensor:
    matrices = []
    for seed in range(896, 900):
        u, s, vh = torch.linalg.svd(gaussian(shape, seed), full_matrices=False)
        is_first = torch.arange(len(s)) == 0
        bulks = torch.logspace(-2.2, -0.3, 32, dtype=torch.float64)
        matrices += [(u * torch.where(is_first, 1.0, bulk)) @ vh for bulk in bulks]
    return torch.stack(matrices)


def iterated(form: Form, stack: Tensor, dtype: torch.dtype, safety: float = 1.01) -> Tensor:
    steps = [(a / safety, b / safety**3, c / safety**5) for a, b, c in PUBLISHED_COEFFICIENTS[:5]]
    with TensorCores():
        result = form((stack / safety).to(dtype).contiguous(), steps).double()
    return result.nan_to_num(1e4, 1e4, -1e4)


def distances(x: Tensor, reference: Tensor) -> Tensor:
    return torch.linalg.matrix_norm(x - reference) / torch.linalg.matrix_norm(reference)


def rows() -> list[tuple[str, Form, float]]:
    """Name, form, safety factor of all coefficients."""
    found: list[tuple[str, Form, float]] = [("plain", plain, 1.01), ("fused", fused, 1.01)]
    for segments in SEGMENTS:
        for restart in SAFETIES if len(segments) > 1 else [1.0]:
            form = partial(gram, segments=segments, restart_safety=restart)
            found.append((f"Gram {segments}, restart safety {restart}", form, 1.01))
    published = [
        (f"Gram {segments}, all coefficients 1.05", partial(gram, segments=segments)) for segments in PUBLISHED
    ]
    return found + [(name, form, 1.05) for name, form in published]


def main() -> None:
    kinds = stacks()
    references = {kind: [iterated(plain, x, torch.float64) for x in given] for kind, given in kinds.items()}
    exacts = {kind: [exact_polar(x) for x in given] for kind, given in kinds.items()}
    print("| dtype | form | largest σ: " + ", ".join(kinds) + " | mean distance to float64 | mean distance to UVᵀ |")
    print("|---|---|---|---|---|")
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        for name, form, safety in rows() if dtype != torch.float64 else rows()[:1]:
            results = {kind: [iterated(form, x, dtype, safety) for x in given] for kind, given in kinds.items()}
            largest = [max(float(torch.linalg.matrix_norm(x, 2).max()) for x in given) for given in results.values()]
            columns = [" / ".join(f"{value:.3g}" for value in largest)]
            for targets in (references, exacts):
                means = [torch.cat(list(map(distances, results[kind], targets[kind]))).mean() for kind in kinds]
                columns.append(" / ".join(f"{value:.3g}" for value in means))
            print("|", " | ".join([str(dtype).removeprefix("torch."), name, *columns]), "|", flush=True)


if __name__ == "__main__":
    main()
