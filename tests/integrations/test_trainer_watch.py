"""Which measures a trainer's callback logs."""

from typing import Any

import pytest
import torch
from torch import nn

import steadydecay as sd
from steadydecay.integrations.lightning import SteadyDecayCallback as LightningCallback
from steadydecay.integrations.trainer_watch import TrainerWatch


def optimizer_of(*names: str) -> torch.optim.AdamW:
    named = [(name, nn.Parameter(torch.ones(4, 3))) for name in names]
    return torch.optim.AdamW([{"params": named, "role": "hidden"}], 1e-2)


def logged(watch: TrainerWatch, *optimizers: torch.optim.Optimizer) -> set[str]:
    watch.attach(optimizers)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    return set(watch.new_metrics())


def test_patterns_choose_layers_measures_and_groups() -> None:
    watch = TrainerWatch(1, layers="*.up", measures=["update_norm", "weight_norm"], groups=())
    found = logged(watch, optimizer_of("0.up", "0.down"))
    assert found == {"layer/0.up/update_norm", "layer/0.up/weight_norm"}


def test_without_patterns_all_is_logged() -> None:
    optimizer = optimizer_of("0.up", "0.down")
    with sd.watch(optimizer) as handle:
        assert logged(TrainerWatch(1), optimizer) == set(handle.metrics())


def test_of_several_optimizers_each_has_the_layers_that_are_its_own() -> None:
    watch = TrainerWatch(1, layers=["gen.*", "disc.0"], measures="weight_norm", groups=())
    found = logged(watch, optimizer_of("gen.0", "gen.1"), optimizer_of("disc.0", "disc.1"))
    assert found == {"0/layer/gen.0/weight_norm", "0/layer/gen.1/weight_norm", "1/layer/disc.0/weight_norm"}


@pytest.mark.parametrize(
    ("patterns", "error", "message"),
    [
        ({"layers": "head.*"}, ValueError, r"watch_layers has pattern 'head\.\*', which matches none"),
        ({"layers": ["gen.*", "head"]}, ValueError, "watch_layers has pattern 'head'"),
        ({"measures": "norm_rato"}, ValueError, "watch_measures has pattern 'norm_rato'.*norm_ratio"),
        ({"groups": "output"}, ValueError, "watch_groups has pattern 'output'"),
        ({"measures": 3}, TypeError, "measures is 3; it must be"),
    ],
)
def test_a_pattern_that_matches_nothing_is_refused_when_training_begins(
    patterns: Any, error: type[Exception], message: str
) -> None:
    optimizers = optimizer_of("gen.0"), optimizer_of("disc.0")
    with pytest.raises(error, match=message):
        TrainerWatch(1, **patterns).attach(optimizers)
    # No hook is left behind.
    assert not any(optimizer._optimizer_step_pre_hooks for optimizer in optimizers)


def test_a_callback_passes_its_patterns_on() -> None:
    callback = LightningCallback(watch_every=1, watch_layers="*.up", watch_measures="update_norm", watch_groups=())
    assert logged(callback._watch, optimizer_of("0.up", "0.down")) == {"layer/0.up/update_norm"}
