"""Where each public name of the package lives. Names load on first use, so that the theory does not need torch."""

from importlib import import_module
from typing import Any

HOMES = {
    "AdamC": "steadydecay.optim.adamc",
    "EffectiveLR": "steadydecay.schedules.effective_lr",
    "Lion": "steadydecay.optim.lion",
    "RenormalizedAdamW": "steadydecay.optim.renormalized_adamw",
    "SGDW": "steadydecay.optim.sgdw",
    "Scion": "steadydecay.optim.scion",
    "ScionC": "steadydecay.optim.scion",
    "SteadyNorm": "steadydecay.schedules.steady_norm",
    "correct_weight_decay": "steadydecay.correction.weight_decay_correction",
    "describe": "steadydecay.groups.param_groups",
    "init_": "steadydecay.groups.param_groups",
    "param_groups": "steadydecay.groups.param_groups",
    "register_optimizer": "steadydecay.known_optimizers.registration",
    "skip_nonfinite": "steadydecay.optim.skip_nonfinite",
    "watch": "steadydecay.monitor.watch",
}
ROOMS = ("norms", "theory")
# Names of `steadydecay.theory` that live above it: one drives a torch optimizer, and the others are steps of Adam.
HOMES_ABOVE_THEORY = {"simulate": "steadydecay.simulation.random_walk"} | dict.fromkeys(
    ("AdamMoments", "AdamSettings", "AdamStep", "adam_l2_step", "adam_path", "adamw_step"),
    "steadydecay.experiments.adam_steps",
)


def loaded(name: str, homes: dict[str, str], module: str) -> Any:
    """Return the object of this name from its home.

    Raises:
        AttributeError: `homes` does not contain the name. The message is Python's own for the module.
    """
    if name not in homes:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    return getattr(import_module(homes[name]), name)
