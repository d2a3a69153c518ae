"""The optimizers that `param_groups`, the commands and the recipes call by a name."""

from dataclasses import dataclass
from typing import Any, final

from steadydecay.theory.decay_rules import DECAY_RULES


@final
@dataclass(frozen=True)
class NamedOptimizer:
    """What its name stands for.

    Attributes:
        title: for the reader.
        family: optimizers of one family share their hyperparameters; a correction changes only the decay rule.
        rule: a key of `DECAY_RULES`.
        usual: the group keys that its momentum has where nobody says otherwise.
        takes_norms: whether each of its groups names a norm.
    """

    title: str
    family: str
    rule: str
    usual: dict[str, Any]
    takes_norms: bool = False

    def __post_init__(self) -> None:
        assert self.rule in DECAY_RULES, self.rule


NAMED_OPTIMIZERS: dict[str, NamedOptimizer] = {
    "adamw": NamedOptimizer("AdamW", "adam", "constant", {"betas": (0.9, 0.999)}),
    "adamc": NamedOptimizer("AdamC", "adam", "corrected", {"betas": (0.9, 0.999)}),
    "renormalized_adamw": NamedOptimizer("RenormAdamW", "adam", "constant", {"betas": (0.9, 0.999)}),
    "adam_l2": NamedOptimizer("Adam-L2", "adam_l2", "constant", {"betas": (0.9, 0.999)}),
    "lion": NamedOptimizer("Lion", "lion", "constant", {"betas": (0.9, 0.99)}),
    "lionc": NamedOptimizer("LionC", "lion", "corrected", {"betas": (0.9, 0.99)}),
    "sgdw": NamedOptimizer("SGDW", "sgd", "constant", {"momentum": 0.9, "nesterov": False}),
    "sgdc": NamedOptimizer("SGDC", "sgd", "corrected", {"momentum": 0.9, "nesterov": False}),
    "muon": NamedOptimizer("Muon", "muon", "constant", {"momentum": 0.95, "nesterov": True}),
    "muonc": NamedOptimizer("MuonC", "muon", "corrected", {"momentum": 0.95, "nesterov": True}),
    "scion": NamedOptimizer("Scion", "scion", "constant", {"momentum": 0.9, "nesterov": False}, takes_norms=True),
    "scionc": NamedOptimizer("ScionC", "scion", "corrected", {"momentum": 0.9, "nesterov": False}, takes_norms=True),
}
