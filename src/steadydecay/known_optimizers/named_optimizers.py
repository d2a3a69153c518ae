"""The optimizers that `param_groups`, the commands and the recipes call by a name."""

from dataclasses import dataclass
from typing import Any, final

from steadydecay.known_optimizers.known_optimizer import KnownOptimizer
from steadydecay.known_optimizers.table import ADAMW, LION_ENTRY, MUON, OUR_SGDW, SCION, TORCH_ADAM
from steadydecay.theory.decay_rules import DECAY_RULES


@final
@dataclass(frozen=True)
class NamedOptimizer:
    """What its name stands for.

    Attributes:
        title: for the reader.
        known: its entry in the table; of the hidden matrices where it is two optimizers (Muon).
        family: optimizers of one family share their hyperparameters; a correction changes only the decay rule.
        rule: a key of `DECAY_RULES`.
        usual: the group keys that its momentum has where nobody says otherwise.
    """

    title: str
    known: KnownOptimizer
    family: str
    rule: str
    usual: dict[str, Any]

    @property
    def takes_norms(self) -> bool:
        """Whether each of its groups names a norm."""
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
