"""Print the table of docs/monitor.md: how well stored vectors follow the top singular values of a GPT in training.

    python benchmarks/spectral_tracking.py scionc
    python benchmarks/spectral_tracking.py adamw

The first 100 steps of the mini GPT; the worst layer of the worst report, against SVD. About a minute on one core.
"""

import sys

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from steadydecay.recipes.gpt.recipe import gpt_recipe
from steadydecay.recipes.optimizers import OPTIMIZERS
from steadydecay.schedules.shapes import cosine
from steadydecay.tensors import spectral_norm
from steadydecay.tensors.spectral_norm import VECTORS, WARM_ITERATIONS

STEPS = 100
VECTORS_AND_PRODUCTS = [
    (1, 1),
    (8, 1),
    (16, 2),
    (32, 1),
    (32, 2),
    (VECTORS, WARM_ITERATIONS),
]
EVERY = [1, 10]


def followed(matrix: Tensor, basis: Tensor, products: int) -> tuple[float, Tensor]:
    image = basis
    for _ in range(products):
        image = spectral_norm.image(matrix, basis)
        basis = spectral_norm.next_basis(image, basis)
    return spectral_norm.spectral_norms(spectral_norm.image_gram(image)).item(), basis


def main() -> None:
    torch.set_num_threads(1)
    recipe = gpt_recipe("mini", sys.argv[1], {"batch_size": 8, "length": 64})
    torch.manual_seed(0)
    data = recipe.load_data()
    model = recipe.build_model(data)
    optimizer = OPTIMIZERS[recipe.optimizer](model, recipe)
    schedule = LambdaLR(optimizer, lambda step: cosine(step, STEPS, recipe.warmup_steps * STEPS // recipe.steps))
    weights = [parameter.detach() for parameter in model.parameters()]
    matrices = [matrix for weight in weights for matrix in weight.view(-1, *weight.shape[-2:]).split(1)]
    cases = [(vectors, products, every) for vectors, products in VECTORS_AND_PRODUCTS for every in EVERY]
    bases: dict[tuple[int, int, int], list[Tensor]] = {}
    worst = dict.fromkeys(cases, 0.0)
    for step in range(1, STEPS + 1):
        model(*recipe.train_batch(data, step - 1, 0, 0, 1)).backward()
        is_moving = optimizer.param_groups[0]["lr"] > 0
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        for case in [case for case in cases if step % case[2] == 0 and is_moving]:
            vectors, products, _ = case
            rounds = products if case in bases else spectral_norm.COLD_ITERATIONS
            of_case = bases.setdefault(case, [_start(matrix, vectors) for matrix in matrices])
            for index, matrix in enumerate(matrices):
                estimate, of_case[index] = followed(matrix, of_case[index], rounds)
                worst[case] = max(worst[case], 1 - estimate / torch.linalg.matrix_norm(matrix, 2).item())
    print(f"| {recipe.optimizer}: vectors, products | {' | '.join(f'every {every}' for every in EVERY)} |")
    print("|---" * (1 + len(EVERY)) + "|")
    for vectors, products in VECTORS_AND_PRODUCTS:
        errors = [f"{100 * worst[vectors, products, every]:.1f} %" for every in EVERY]
        print(f"| {vectors}, {products} | {' | '.join(errors)} |")


def _start(matrix: Tensor, vectors: int) -> Tensor:
    rows, columns = matrix.shape[-2:]
    return spectral_norm.starting_basis(1, rows, columns, matrix.device)[..., :vectors]


if __name__ == "__main__":
    main()
