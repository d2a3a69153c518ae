"""The optimizers that `param_groups`, the commands and the recipes refer to by name."""

from dataclasses import dataclass
from typing import Any, final

from steadydecay.known_optimizers.known_optimizer import KnownOptimizer
from steadydecay.known_optimizers.table import ADAMW, LION_ENTRY, MUON, OUR_SGDW, SCION, TORCH_ADAM
from steadydecay.theory.decay_rules import DECAY_RULES


@final
@dataclass(frozen=True)
class NamedOptimizer:
    """What the name of an optimizer stands for.

    Attributes:
        title: The name that readers see.
        known: Its entry in the table. For Muon, which is two optimizers, it is that of the hidden matrices.
        family: Optimizers of one family share their hyperparameters; a correction changes only the decay rule.
        rule: A key of `DECAY_RULES`.
        usual: The default values of the group keys of its momentum.
    """

    title: str
    known: KnownOptimizer
    family: str
    rule: str
    usual: dict[str, Any]

    @property
    def takes_norms(self) -> bool:
        """Whether each of its groups needs a norm."""
        return self.known.sized_by == "norm"

    def __post_init__(self) -> None:
        assert self.rule in DECAY_RULES, self.rule


NAMED_OPTIMIZERS: dict[str, NamedOptimizer] = {
    "scion": NamedOptimizer("Scion", SCION, "scion", "constant", {"momentum": 0.9, "nesterov": False}),
    "scionc": NamedOptimizer("ScionC", SCION, "scion", "corrected", {"momentum": 0.9, "nesterov": False}),
    "scionc_cosine": NamedOptimizer(
        "ScionC (cosine)", SCION, "scion", "corrected", {"momentum": 0.9, "nesterov": False}
    ),
    "adam": NamedOptimizer("Adam", TORCH_ADAM, "adam_l2", "constant", {"betas": (0.9, 0.999)}),
    "adamw": NamedOptimizer("AdamW", ADAMW, "adam", "constant", {"betas": (0.9, 0.999)}),
    "adamc": NamedOptimizer("AdamC", ADAMW, "adam", "corrected", {"betas": (0.9, 0.999)}),
    "renormalized_adamw": NamedOptimizer("RenormAdamW", ADAMW, "adam", "constant", {"betas": (0.9, 0.999)}),
    "adam_l2": NamedOptimizer("Adam-L2", TORCH_ADAM, "adam_l2", "constant", {"betas": (0.9, 0.999)}),
    "lion": NamedOptimizer("Lion", LION_ENTRY, "lion", "constant", {"betas": (0.9, 0.99)}),
    "lionc": NamedOptimizer("LionC", LION_ENTRY, "lion", "corrected", {"betas": (0.9, 0.99)}),
    "sgdw": NamedOptimizer("SGDW", OUR_SGDW, "sgd", "constant", {"momentum": 0.9, "nesterov": False}),
    "sgdc": NamedOptimizer("SGDC", OUR_SGDW, "sgd", "corrected", {"momentum": 0.9, "nesterov": False}),
    "muon": NamedOptimizer("Muon", MUON, "muon", "constant", {"momentum": 0.95, "nesterov": True}),
    "muonc": NamedOptimizer("MuonC", MUON, "muon", "corrected", {"momentum": 0.95, "nesterov": True}),
}
