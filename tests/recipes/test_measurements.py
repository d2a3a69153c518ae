"""Measured norms against float64, predicted norms against the formulas of arXiv 2512.08217 written out."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from steadydecay.groups.param_groups import param_groups
from steadydecay.optim.scion import Scion
from steadydecay.recipes.measurements import hyperparameters_by_role, norms_by_role
from steadydecay.theory import correlation


class Model(nn.Module):
    """One parameter of each role, one of them frozen, and three fused matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.qkv = nn.Parameter(torch.randn(3, 6, 6))
        self.up = nn.Linear(6, 24)
        self.frozen = nn.Linear(6, 6, bias=False).requires_grad_(False)
        self.head = nn.Linear(6, 11, bias=False)


def scion_of(model: nn.Module, **arguments: Any) -> Scion:
    lr = {"hidden": 0.04, "output": 0.3, "embedding": 0.2, "vector": 0.1}
    weight_decay = {role: 0.01 / role_lr for role, role_lr in lr.items()}
    return Scion(param_groups(model, "scion", lr=lr, weight_decay=weight_decay), 0.04, **arguments)


def adamw_of(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(param_groups(model, "adamw", lr=0.01, weight_decay=0.5), lr=0.01, betas=(0.9, 0.95))


def frobenius(*tensors: Tensor) -> float:
    return math.sqrt(sum(float(tensor.detach().double().square().sum()) for tensor in tensors))


def steady_norm_sq(lr: float, decay: float, momentum: float, lmo: Any = "linear") -> float:
    """S summed term by term: γ²/(η(2-η)) · [1 + 2 Σ (1-η)^k φ(β^k)]."""
    correlations = sum((1 - decay) ** k * correlation(momentum**k, lmo) for k in range(1, 2000))
    return lr**2 / (decay * (2 - decay)) * (1 + 2 * correlations)


def test_norms_by_role_are_over_all_parameters_of_the_role() -> None:
    model = Model()
    optimizer = scion_of(model)
    expected = {
        "embedding": [model.embedding.weight],
        "hidden": [model.qkv, model.up.weight],
        "vector": [model.up.bias],
        "output": [model.head.weight],
    }
    measured = norms_by_role(optimizer, "weight_norm")
    assert measured == {"weight_norm": pytest.approx({role: frobenius(*of) for role, of in expected.items()})}
    for parameters in expected.values():
        for parameter in parameters:
            parameter.grad = torch.randn_like(parameter)
    gradients = {role: frobenius(*(p.grad for p in of if p.grad is not None)) for role, of in expected.items()}
    assert norms_by_role(optimizer, "gradient_norm") == {"gradient_norm": pytest.approx(gradients)}


def test_a_parameter_without_a_gradient_counts_as_zero() -> None:
    model = Model()
    optimizer = scion_of(model)
    model.qkv.grad = torch.full_like(model.qkv, 2)
    norms = norms_by_role(optimizer, "gradient_norm")["gradient_norm"]
    assert norms == {"hidden": pytest.approx(2 * math.sqrt(3 * 36)), "embedding": 0, "vector": 0, "output": 0}


def test_norms_of_one_role_are_joined_over_its_groups() -> None:
    weights = [nn.Parameter(torch.full((2, 2), 3.0)), nn.Parameter(torch.full((4, 4), 2.0))]
    optimizer = torch.optim.SGD([{"params": [weight], "role": "hidden"} for weight in weights], lr=0.1)
    assert norms_by_role(optimizer, "weight_norm") == {"weight_norm": {"hidden": 10.0}}


def test_hyperparameters_are_those_of_the_next_step() -> None:
    optimizer = scion_of(Model(), decay="corrected")
    for group in optimizer.param_groups:
        group["lr"] /= 2
    measures = hyperparameters_by_role(optimizer)
    assert measures["lr"] == {"hidden": 0.02, "output": 0.15, "embedding": 0.1, "vector": 0.05}
    decays = {"hidden": 0.0025, "output": 0.005, "embedding": 0.0025, "vector": 0.0025}
    assert measures["decay"] == pytest.approx(decays), "corrected but for the output layer"


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_predicted_norm_of_scion_is_that_of_updates_with_the_lmo_s_norm(momentum: float) -> None:
    optimizer = scion_of(Model(), momentum=momentum)
    lr = {"hidden": 0.04, "output": 0.3, "embedding": 0.2, "vector": 0.1}
    # (law, ‖lmo‖_F²): d_out/d_in · min(d_out, d_in) per matrix; a vector and a Sign layer have entries of 1 and 1/d_in.
    updates: dict[str, list[tuple[Any, float]]] = {
        "hidden": [(("spectral", 6, 6), 3 * 6), (("spectral", 6, 24), 24 / 6 * 6)],
        "output": [("sign", 11 * 6 / 36)],
        "embedding": [("sign", 11 * 6 / 36)],
        "vector": [(("vector", 24), 24)],
    }
    expected = {
        role: math.sqrt(sum(steady_norm_sq(lr[role], 0.01, momentum, lmo) * size for lmo, size in of_role))
        for role, of_role in updates.items()
    }
    assert hyperparameters_by_role(optimizer)["predicted_norm"] == pytest.approx(expected)


def test_the_prediction_holds_for_independent_gradients() -> None:
    """A random walk of the optimizer itself, without the formula."""
    torch.manual_seed(0)
    weight = nn.Parameter(torch.zeros(32, 32))
    groups = [{"params": [weight], "role": "hidden", "norm": "sign"}]
    optimizer = Scion(groups, 0.04, 0.0, weight_decay=0.02 / 0.04)
    for _ in range(400):
        weight.grad = torch.randn_like(weight)
        optimizer.step()
    predicted = hyperparameters_by_role(optimizer)["predicted_norm"]["hidden"]
    assert norms_by_role(optimizer, "weight_norm")["weight_norm"]["hidden"] == pytest.approx(predicted, rel=0.05)


def test_adam_s_prediction_has_the_entries_that_an_average_leaves_of_1() -> None:
    measures = hyperparameters_by_role(adamw_of(Model()))
    entries = {"hidden": 3 * 36 + 24 * 6, "output": 66, "embedding": 66}
    expected = {
        role: math.sqrt(steady_norm_sq(0.01, 0.005, 0.9) * count * 0.1 / 1.9) for role, count in entries.items()
    }
    assert measures["predicted_norm"] == pytest.approx(expected | {"vector": math.inf})
    assert measures["decay"] == pytest.approx(dict.fromkeys(entries, 0.005) | {"vector": 0.0})
    assert set(measures["lr"].values()) == {0.01}


def test_without_decay_the_predicted_norm_is_infinite() -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    optimizer = Scion([{"params": [weight], "role": "hidden"}], 0.1)
    assert hyperparameters_by_role(optimizer)["predicted_norm"] == {"hidden": math.inf}
