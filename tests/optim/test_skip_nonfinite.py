"""Gradients that are not finite are left out and counted; without that, docs/optimizers.md says what they do."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_contract import same_bits, values
from torch import Tensor, nn

import steadydecay as sd
from steadydecay.optim.skip_nonfinite import NonfiniteGradient, are_finite, skip_nonfinite

Build = Callable[[list[Any]], torch.optim.Optimizer]
BUILDS: dict[str, Build] = {
    "scion": lambda params: sd.ScionC(params, 1e-2, weight_decay=0.5),
    "scion sign": lambda params: sd.ScionC(params, 1e-2, weight_decay=0.5, norm="sign"),
    "scion row": lambda params: sd.ScionC(params, 1e-2, weight_decay=0.5, norm="row_norm"),
    "scion column": lambda params: sd.ScionC(params, 1e-2, weight_decay=0.5, norm="col_norm"),
    "lion": lambda params: sd.Lion(params, 1e-2, weight_decay=0.5),
    "sgdw": lambda params: sd.SGDW(params, 1e-2, 0.9, weight_decay=0.5),
    "adamc": lambda params: sd.AdamC(params, 1e-2, weight_decay=0.5),
    "renormalized": lambda params: sd.RenormalizedAdamW(params, 1e-2, weight_decay=0.5),
    "torch adamw": lambda params: torch.optim.AdamW(params, 1e-2, weight_decay=0.5, foreach=True),
    "torch muon": lambda params: torch.optim.Muon(params, 1e-2, weight_decay=0.5),
}
over_optimizers = pytest.mark.parametrize("name", BUILDS)
FILLS = [math.nan, math.inf, -math.inf]


def two_weights() -> list[tuple[str, Any]]:
    torch.manual_seed(0)
    return [(name, nn.Parameter(torch.randn(8, 6))) for name in ("first", "second")]


def gradients(seed: int, fill: float | None = None) -> list[Tensor]:
    """Of both weights; the first has one entry that is `fill`."""
    generator = torch.Generator().manual_seed(seed)
    made = [torch.randn(8, 6, generator=generator) for _ in range(2)]
    if fill is not None:
        made[0][2, 3] = fill
    return made


def run(optimizer: torch.optim.Optimizer, steps: range, fill_at: int | None = None, fill: float = math.nan) -> None:
    weights = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for step in steps:
        for weight, gradient in zip(weights, gradients(step, fill if step == fill_at else None), strict=True):
            weight.grad = gradient
        optimizer.step()


def everything(optimizer: torch.optim.Optimizer, weight: Tensor) -> list[Tensor]:
    return values([weight, *(tensor for tensor in optimizer.state[weight].values() if tensor.ndim)])


# --- what one entry does without it, as docs/optimizers.md says ---


@pytest.mark.parametrize(
    ("name", "spoilt"),
    [
        ("scion", 48),
        ("scion row", 6),
        ("scion column", 8),
        ("scion sign", 0),
        ("lion", 0),
        ("sgdw", 1),
        ("adamc", 1),
        ("renormalized", 48),
    ],
)
def test_what_one_entry_does(name: str, spoilt: int) -> None:
    pairs = two_weights()
    optimizer, (weight, other) = BUILDS[name](pairs), (weight for _, weight in pairs)
    run(optimizer, range(40), fill_at=5)
    assert (~weight.isfinite()).sum() == spoilt
    assert other.isfinite().all()
    momentum = optimizer.state[weight].get("momentum", optimizer.state[weight].get("exp_avg"))
    assert momentum is not None and not momentum[2, 3].isfinite()


@pytest.mark.parametrize("name", ["lion", "scion sign"])
def test_an_entry_under_a_sign_only_decays_from_then_on(name: str) -> None:
    pairs = two_weights()
    optimizer, weight = BUILDS[name](pairs), pairs[0][1]
    run(optimizer, range(6), fill_at=5)
    before = weight[2, 3].item()
    run(optimizer, range(6, 206))
    assert weight[2, 3].item() == pytest.approx(before * (1 - 0.01 * 0.5) ** 200, rel=1e-4)


# --- skipping ---


@pytest.mark.parametrize("fill", FILLS)
@over_optimizers
def test_a_skipped_weight_keeps_every_bit_and_the_others_step(name: str, fill: float) -> None:
    pairs, twins = two_weights(), two_weights()
    optimizer, twin = BUILDS[name](pairs), BUILDS[name](twins)
    handle = skip_nonfinite(optimizer)
    for one in (optimizer, twin):
        run(one, range(5))
    before = everything(optimizer, pairs[0][1])
    with pytest.warns(UserWarning, match="gradient of 'first' holds a NaN or an infinity at step 6; it and 0 others"):
        run(optimizer, range(5, 6), fill_at=5, fill=fill)
    assert same_bits(everything(optimizer, pairs[0][1]), before)
    run(twin, range(5, 6))
    assert same_bits(everything(optimizer, pairs[1][1]), everything(twin, twins[1][1]))
    assert (handle.skipped, handle.skipped_steps) == ({"first": 1}, 1)
    assert handle.first == NonfiniteGradient(6, "first")
    run(optimizer, range(6, 20))
    assert all(tensor.isfinite().all() for tensor in everything(optimizer, pairs[0][1]))


@over_optimizers
def test_a_skipped_step_keeps_every_bit_of_all_weights(name: str) -> None:
    pairs = two_weights()
    optimizer = BUILDS[name](pairs)
    handle = skip_nonfinite(optimizer, skip="step")
    run(optimizer, range(3))
    before = [tensor for _, weight in pairs for tensor in everything(optimizer, weight)]
    with pytest.warns(UserWarning, match="the step is skipped"):
        run(optimizer, range(3, 4), fill_at=3)
    assert same_bits([tensor for _, weight in pairs for tensor in everything(optimizer, weight)], before)
    assert (handle.skipped, handle.skipped_steps) == ({"first": 1}, 1)


@pytest.mark.parametrize("rule", ["corrected", "cautious", "hyperball"])
@pytest.mark.parametrize("is_first", [False, True])
def test_a_skipped_weight_does_not_decay_under_any_rule(rule: str, is_first: bool) -> None:
    pairs = two_weights()
    optimizer = torch.optim.AdamW(pairs, 1e-2, weight_decay=0.5)
    if is_first:
        skip_nonfinite(optimizer)
    sd.correct_weight_decay(optimizer, rule, where=[0])
    if not is_first:
        skip_nonfinite(optimizer)
    run(optimizer, range(3))
    before = values([weight for _, weight in pairs])
    with pytest.warns(UserWarning, match="skipped"):
        run(optimizer, range(3, 4), fill_at=3)
    assert same_bits([pairs[0][1]], before[:1])
    assert not same_bits([pairs[1][1]], before[1:])


def test_a_watch_counts_no_time_for_a_skipped_weight() -> None:
    pairs = two_weights()
    optimizer = sd.Lion(pairs, 1e-2, weight_decay=0.5)
    watch = sd.watch(optimizer)
    skip_nonfinite(optimizer)
    with pytest.warns(UserWarning, match="skipped"):
        run(optimizer, range(4), fill_at=2)
    metrics = watch.metrics()
    assert metrics["layer/first/time_constants"] == pytest.approx(3 * 2 * 0.005)
    assert metrics["layer/second/time_constants"] == pytest.approx(4 * 2 * 0.005)


@over_optimizers
def test_a_closure_is_looked_after_and_returns_its_loss(name: str) -> None:
    pairs = two_weights()
    optimizer = BUILDS[name](pairs)
    handle = skip_nonfinite(optimizer)
    before = everything(optimizer, pairs[0][1])

    def closure() -> float:
        for (_, weight), gradient in zip(pairs, gradients(0, math.inf), strict=True):
            weight.grad = gradient
        return 3.0

    with pytest.warns(UserWarning, match="at step 1"):
        assert optimizer.step(closure) == 3.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert optimizer.step(closure=closure) == 3.0
    assert same_bits(values([pairs[0][1]]), before[:1])
    assert handle.skipped == {"first": 2}


def test_a_memory_light_weight_begins_its_average_anew() -> None:
    pairs = two_weights()
    optimizer = sd.Scion(pairs, 1e-2, weight_decay=0.5, memory_light=True)
    handle = skip_nonfinite(optimizer)
    with pytest.warns(UserWarning, match="skipped"):
        for step in range(12):
            for (_, weight), gradient in zip(pairs, gradients(step, math.nan if step == 4 else None), strict=True):
                weight.grad = gradient if weight.grad is None else weight.grad + gradient
            optimizer.step()
    assert handle.skipped == {"first": 1}
    assert all(weight.isfinite().all() for _, weight in pairs)
    with pytest.raises(ValueError, match="skip is 'step'; it must be 'tensor' with memory_light=True"):
        skip_nonfinite(optimizer, skip="step")


def test_complex_sparse_and_narrow_gradients() -> None:
    weights = [
        nn.Parameter(torch.zeros(3, 2, dtype=torch.complex64)),
        nn.Parameter(torch.zeros(3, 2)),
        nn.Parameter(torch.zeros(3, 2, dtype=torch.float16)),
        nn.Parameter(torch.zeros(3, 2, dtype=torch.bfloat16)),
        nn.Parameter(torch.zeros(3, 2, dtype=torch.float64)),
    ]
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    assert weights[0].grad is not None
    weights[0].grad[1, 1] = torch.tensor(complex(0.0, math.nan))
    weights[1].grad = torch.tensor([[0.0, 0.0], [0.0, math.inf], [0.0, 0.0]]).to_sparse()
    found = are_finite([weight.grad for weight in weights if weight.grad is not None])
    assert found == [False, False, True, True, True]


@pytest.mark.parametrize(("dtype", "large"), [(torch.float16, 6e4), (torch.float32, 3e38), (torch.float64, 1e308)])
def test_a_large_gradient_is_finite_though_its_norm_is_not(dtype: torch.dtype, large: float) -> None:
    gradient = torch.full((300, 5), large, dtype=dtype)
    assert are_finite([gradient, torch.zeros(0, dtype=dtype), torch.zeros((), dtype=dtype)]) == [True, True, True]
    gradient[299, 4] = math.nan
    assert are_finite([gradient]) == [False]


def test_counts_go_into_a_checkpoint_and_the_handle_goes_away() -> None:
    pairs = two_weights()
    optimizer = sd.Lion(pairs, 1e-2)
    with skip_nonfinite(optimizer) as handle, pytest.warns(UserWarning, match="skipped"):
        run(optimizer, range(3), fill_at=1)
    resumed = skip_nonfinite(sd.Lion(two_weights(), 1e-2))
    resumed.load_state_dict(handle.state_dict())
    assert resumed.state_dict() == handle.state_dict()
    assert resumed.first == NonfiniteGradient(2, "first")
    run(optimizer, range(3, 4), fill_at=3)
    assert handle.skipped_steps == 1
    assert not optimizer.state[pairs[0][1]]["momentum"].isfinite().all()


def test_nothing_is_skipped_where_all_is_finite() -> None:
    pairs, twins = two_weights(), two_weights()
    optimizer, twin = sd.ScionC(pairs, 1e-2), sd.ScionC(twins, 1e-2)
    handle = skip_nonfinite(optimizer)
    for one in (optimizer, twin):
        run(one, range(4))
    assert same_bits([weight for _, weight in pairs], [weight for _, weight in twins])
    assert (handle.skipped, handle.first) == ({}, None)
    optimizer.zero_grad()
    optimizer.step()


def test_errors() -> None:
    optimizer: Any = sd.Lion(two_weights(), 1e-2)
    with pytest.raises(ValueError, match="skip is 'layer'; it must be one of 'tensor', 'step'"):
        skip_nonfinite(optimizer, skip="layer")  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"optimizer is a list; it must be a torch\.optim\.Optimizer"):
        skip_nonfinite([])  # pyright: ignore[reportArgumentType]
