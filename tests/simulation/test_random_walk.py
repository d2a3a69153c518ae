import math
from typing import Any

import pytest
import torch

from steadydecay import theory
from steadydecay.optim.lion import Lion
from steadydecay.theory import forecast, lion_average, simulate

STEPS = 120
COSINE = [0.5 * (1 + math.cos(math.pi * step / STEPS)) for step in range(STEPS)]
DIM = 40_000


@pytest.mark.parametrize("lmo", ["linear", "sign", ("vector", 4), ("spectral", 16, 16), ("spectral", 8, 32)])
@pytest.mark.parametrize(
    ("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True), (lion_average(0.9, 0.97), False)]
)
def test_the_walk_follows_the_forecast(momentum: Any, nesterov: bool, lmo: Any) -> None:
    lr, decay = COSINE, [0.1 * shape**2 for shape in COSINE]
    options: dict[str, Any] = {"nesterov": nesterov, "lmo": lmo, "initial_norm_sq": 5.0}
    walk = simulate(lr, decay, momentum, dim=DIM, **options)
    expected = forecast(lr, decay, momentum, **options)
    five_standard_errors = 5 * math.sqrt(2 / DIM)
    # The Polar Express is not the polar factor: its singular values lie within 0.13 of 1.
    tolerance = five_standard_errors + (0.01 if isinstance(lmo, tuple) and lmo[0] == "spectral" else 0)
    for step in (0, 20, 60, STEPS - 1):
        assert walk[step] == pytest.approx(expected[step], rel=tolerance)


def test_a_momentum_schedule_reaches_the_optimizer() -> None:
    momenta = [0.95 * shape for shape in COSINE]
    walk = simulate([0.1] * STEPS, 0.1, momenta, dim=DIM, lmo="sign")
    assert walk[-1] == pytest.approx(forecast([0.1] * STEPS, 0.1, momenta, lmo="sign")[-1], rel=5 * math.sqrt(2 / DIM))
    assert walk[-1] < 0.5 * walk[STEPS // 3]


def test_signs_under_lions_filter_are_the_real_lion() -> None:
    lr, decay, betas, steps = 0.1, 0.2, (0.8, 0.95), 30
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(1, 500, dtype=torch.float64, generator=generator) * 0
    lion = Lion([weight.requires_grad_()], lr=lr, betas=betas, weight_decay=decay / lr)
    for _ in range(steps):
        weight.grad = torch.randn(1, 500, dtype=torch.float64, generator=generator)
        lion.step()
    walk = simulate([lr] * steps, decay, lion_average(*betas), lmo="sign", dim=500, seed=3)
    assert walk[-1] == pytest.approx(float(weight.detach().square().sum()) / 500, rel=1e-12)


def test_a_seed_is_a_walk_and_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first, again, other = (simulate([1.0] * 10, 0.1, 0.9, dim=50, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert torch.equal(torch.get_rng_state(), before)


def test_zero_lr_only_decays() -> None:
    walk = simulate([0.0, 0.0], [0.5, 0.0], 0.9, initial_norm_sq=4.0, dim=200_000)
    assert walk == pytest.approx([1.0, 1.0], rel=0.02)


def test_few_entries_are_one_whole_matrix() -> None:
    assert simulate([1.0], 0.5, lmo=("spectral", 4, 8), dim=1)[0] == pytest.approx(1)


def test_progress_is_shown_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    silent = simulate([1.0] * 3, 0.1, dim=5)
    assert capsys.readouterr().out == ""
    assert simulate([1.0] * 3, 0.1, dim=5, progress=True) == silent
    assert "simulating" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lr": []}, "^lr is an empty schedule"),
        ({"lr": [-1.0]}, r"^lr\[0\] is -1\.0"),
        ({"decay": 1.0}, r"^decay\[0\] is 1\.0"),
        ({"momentum": [0.9, 0.9]}, "^momentum has 2 values"),
        ({"dim": 0}, "^dim is 0; it must be"),
        ({"initial_norm_sq": -1.0}, "^initial_norm_sq is -1"),
        ({"lmo": "rms"}, "^lmo is 'rms'; it must be"),
    ],
)
def test_what_is_out_of_range_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        simulate(**({"lr": [0.1], "decay": 0.1, "dim": 4} | arguments))


def test_theory_has_no_other_late_names() -> None:
    with pytest.raises(AttributeError, match="no attribute 'simulation'"):
        _ = theory.simulation
