"""Every entry of the table against the real class of its package, on independent Gaussian noise."""

import math
from typing import Any

import pytest
import torch
from real_optimizers import (
    ADAMS,
    LIONS,
    LR,
    MUONS,
    OTHERS,
    REAL_OPTIMIZERS,
    SCIONS,
    SHAPE,
    SUMS,
    WEIGHT_DECAY,
    RealOptimizer,
    decayed,
    noise,
    parameter_of,
)
from torch import Tensor

from steadydecay.groups.prediction import update_blocks
from steadydecay.known_optimizers.decay_action import decay_action
from steadydecay.known_optimizers.known_optimizer import KnownOptimizer
from steadydecay.known_optimizers.optimizer_state import direction_of, momentum_tensor
from steadydecay.known_optimizers.table import KNOWN_OPTIMIZERS, known_optimizer
from steadydecay.known_optimizers.update_momentum import NO_MOMENTUM
from steadydecay.theory import correlation

SETTLED = 100
# Relative, of E‖u‖². Newton–Schulz as published leaves singular values of 0.92 on average; AdaBelief divides by the
# variance around its own average, β²·2/(1+β) of the second moment.
SIZE_TOLERANCE = {**dict.fromkeys([*LIONS, *SCIONS, *SUMS], 0.03), **dict.fromkeys(ADAMS, 0.07)}
SIZE_TOLERANCE |= dict.fromkeys(MUONS, 0.18)
SIZE_TOLERANCE |= {real: 0.2 for real in ADAMS if "AdaBelief" in real.name}
CORRELATION_TOLERANCE = 0.02


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def entry_of(optimizer: Any) -> KnownOptimizer:
    known = known_optimizer(optimizer, optimizer.param_groups[0])
    assert known is not None and known.momentum is not None
    return known


def ids(real: RealOptimizer) -> str:
    return real.name


def measured(updates: Tensor) -> tuple[float, float]:
    """E‖u‖², and the correlation of neighbouring updates."""
    settled = updates[SETTLED:]
    size = float(settled.square().sum(dim=(1, 2)).mean())
    return size, float((settled[1:] * settled[:-1]).sum(dim=(1, 2)).mean()) / size


def expected(known: KnownOptimizer, group: Any, gradients: Tensor) -> tuple[float, float]:
    """The same as the table has it; NaN where nothing tells the size."""
    average, blocks = known.correlating_filter(group), update_blocks(group, SHAPE, known)
    size = math.fsum(norm_sq for _, norm_sq in blocks)
    if known.sized_by == "gradient":
        size = float(gradients.square().sum(dim=(1, 2)).mean()) * float(average.scale_sq)
    lmo = ("spectral", *SHAPE) if "SCION" in type_name(group, known) else blocks[0].lmo
    return size, correlation(float(average.first_correlation), lmo)


def type_name(group: Any, known: KnownOptimizer) -> str:
    """pytorch_optimizer's SCION says its norm in words of its own."""
    return "SCION" if known.sized_by == "norm" and "norm" not in group else ""


@pytest.mark.parametrize("real", REAL_OPTIMIZERS, ids=ids)
def test_size_and_correlation_of_updates(real: RealOptimizer) -> None:
    run = noise(real, 0.9)
    group = run.optimizer.param_groups[0]
    size, neighbours = measured(run.updates)
    expected_size, expected_neighbours = expected(entry_of(run.optimizer), group, run.gradients)
    assert neighbours == pytest.approx(expected_neighbours, abs=CORRELATION_TOLERANCE)
    if math.isfinite(expected_size):
        assert size == pytest.approx(expected_size, rel=SIZE_TOLERANCE[real])


@pytest.mark.parametrize("real", [real for real in REAL_OPTIMIZERS if real not in ADAMS], ids=ids)
def test_the_momentum_is_read_and_written_where_the_optimizer_has_it(real: RealOptimizer) -> None:
    optimizer = noise(real, 0.9, steps=1).optimizer
    known, group = entry_of(optimizer), optimizer.param_groups[0]
    read = known.read(group)
    assert (read[0] if isinstance(read, tuple) else read) == pytest.approx(0.9)
    if known.momentum is not None and known.momentum.written is not None:
        written = known.momentum.written

        def change(group: Any) -> None:
            group.update(written(group, 0.5))

        changed = noise(real, 0.9, change=change)
        assert entry_of(changed.optimizer).read(changed.optimizer.param_groups[0]) == pytest.approx(0.5)
        _, neighbours = measured(changed.updates)
        _, wanted = expected(entry_of(changed.optimizer), changed.optimizer.param_groups[0], changed.gradients)
        assert neighbours == pytest.approx(wanted, abs=CORRELATION_TOLERANCE)


# AdaBelief's divisor is the variance around its own average, which its β₁ makes smaller.
@pytest.mark.parametrize("real", [real for real in ADAMS if "AdaBelief" not in real.name], ids=ids)
def test_the_first_beta_does_not_set_the_size_of_summed_updates(real: RealOptimizer) -> None:
    """Appendix B: what one gradient adds in all is the same at any β₁."""
    assert entry_of(noise(real, 0.9, steps=1).optimizer).momentum is NO_MOMENTUM
    sums = [float(noise(real, beta).updates[SETTLED:].sum(dim=0).square().sum()) for beta in (0.9, 0.5)]
    assert math.sqrt(sums[0] / sums[1]) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("real", [*REAL_OPTIMIZERS, *OTHERS], ids=ids)
def test_what_a_decay_takes_from_the_weights(real: RealOptimizer) -> None:
    optimizer = real.build([parameter_of()], LR, WEIGHT_DECAY, 0.5)
    action = decay_action(optimizer, optimizer.param_groups[0]).action
    weight = parameter_of().detach()
    for lr in (LR, LR / 4):
        taken = decayed(real, lr, 0.0) - decayed(real, lr, WEIGHT_DECAY)
        share = {"decoupled": lr, "corrected": lr**2 / LR}.get(action, math.nan) * WEIGHT_DECAY
        is_as_told = bool(((taken - share * weight).norm() / (share * weight).norm()) < 0.02)
        assert is_as_told == (action != "l2"), (action, lr)


KEPT = [real for real in REAL_OPTIMIZERS if not real.name.startswith("heavyball")]


@pytest.mark.parametrize("real", [real for real in KEPT if real not in ADAMS], ids=ids)
def test_the_state_holds_the_average_or_the_sum(real: RealOptimizer) -> None:
    run = noise(real, 0.9, steps=30)
    known, group = entry_of(run.optimizer), run.optimizer.param_groups[0]
    kept = momentum_tensor(known, run.optimizer.state[run.parameter], run.parameter)
    assert kept is not None
    read = known.read(group)
    beta = read[1] if isinstance(read, tuple) else read
    weights = beta ** torch.arange(len(run.gradients) - 1, -1, -1, dtype=torch.float64)
    summed = (weights.view(-1, 1, 1) * run.gradients).sum(dim=0)
    wanted = summed if known.momentum_state_holds == "sum" else (1 - beta) * summed
    torch.testing.assert_close(kept.double(), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("real", [*MUONS, *LIONS, *SCIONS], ids=ids)
def test_the_direction_is_what_the_update_normalises(real: RealOptimizer) -> None:
    if real not in KEPT:
        return
    run = noise(real, 0.9, steps=30)
    known = entry_of(run.optimizer)
    direction = direction_of(known, run.optimizer.param_groups[0])
    kept = momentum_tensor(known, run.optimizer.state[run.parameter], run.parameter)
    assert direction is not None and kept is not None
    along = direction.momentum * kept.double() + direction.gradient * run.gradients[-1]
    if known.sized_by == "sign":
        assert torch.equal(along.sign(), run.updates[-1].round())
    else:
        # The polar factor UVᵀ makes UᵀDV diagonal: DᵀX is symmetric where X is the polar factor of D.
        product = along.T @ run.updates[-1]
        if product.norm() > 0 and "sign" not in real.name:
            assert float((product - product.T).norm() / product.norm()) < 0.02


def test_every_class_that_can_be_installed_is_in_the_runs() -> None:
    tried = {name for real in [*REAL_OPTIMIZERS, *OTHERS] for name in (real.name.partition(",")[0],)}
    packages = {"torch", "transformers", "timm", "pytorch_optimizer", "heavyball", "optimi", "steadydecay"}
    # It compiles a Triton kernel even for a CPU.
    cannot_run = {"optimi.StableAdamW"}
    missing = (
        {name for name in KNOWN_OPTIMIZERS if name.partition(".")[0] in packages and "." in name} - tried - cannot_run
    )
    assert not missing, missing
    by_name = {name.rpartition(".")[2] for name in tried}
    assert not {name for name in KNOWN_OPTIMIZERS if "." not in name} - by_name
