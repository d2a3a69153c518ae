"""Hyperparameters from a command line, for each role of weights."""

from dataclasses import dataclass
from typing import Any, Literal, final, get_args

from steadydecay.groups.param_groups import NORM_OF_ROLE
from steadydecay.inspection.layer_settings import LayerSettings, checked_settings
from steadydecay.inspection.module_skeleton import Guess
from steadydecay.known_optimizers.named_optimizers import NAMED_OPTIMIZERS, NamedOptimizer
from steadydecay.norms import NORMS, norm_name
from steadydecay.theory.validation import require_in

OptimizerName = Literal["adamw", "lion", "muon", "scion"]
# The update is UVᵀ times max(1, √(d_out/d_in)), for each matrix in a stack.
MUON_NORM = {"name": "spectral", "scale": "max"}
HAS_OUTPUT_LR = ("output", "embedding")


@final
@dataclass(frozen=True)
class GivenSettings:
    """The options of the command line. Those that were not given are None.

    Attributes:
        lr: γ > 0 at the peak of the schedule.
        weight_decay: λ ≥ 0 in PyTorch's convention, as an alternative to `decay`.
        decay: The share η = γλ in [0, 1) that a step removes, the same for each role.
        optimizer: The optimizer that trained the weights.
        output_lr: γ of output layer and embeddings, if it is different.
        momentum, nesterov: The momentum of Scion or Muon.
        betas: The betas of AdamW or Lion.
        norm: The norm of Scion's hidden matrices, a key of `steadydecay.norms.NORMS` as `norm_name` understands it.

    Raises:
        ValueError: An option is outside its range, missing, or one that the optimizer does not have.
    """

    lr: float | None = None
    weight_decay: float | None = None
    decay: float | None = None
    optimizer: OptimizerName | None = None
    output_lr: float | None = None
    momentum: float | None = None
    nesterov: bool | None = None
    betas: tuple[float, float] | None = None
    norm: str | None = None

    def __post_init__(self) -> None:
        if not self.is_given:
            return
        both = self.weight_decay is not None and self.decay is not None
        if self.lr is None or both or (self.weight_decay is None and self.decay is None):
            found = ", ".join(f"{name}={value!r}" for name, value in vars(self).items() if value is not None)
            raise ValueError(f"options are {found}; give at least --lr and one of --weight-decay and --decay")
        self._check_ranges(self.lr)
        self._check_what_the_optimizer_has()

    @property
    def is_given(self) -> bool:
        """Whether any option is given, so that stored hyperparameters are ignored."""
        return any(value is not None for value in vars(self).values())

    @property
    def name(self) -> OptimizerName:
        return self.optimizer or "adamw"

    def settings_of(self, guess: Guess, shape: tuple[int, ...]) -> LayerSettings:
        """Return the settings of a weight with this role."""
        lr, weight_decay = self._lr_and_weight_decay(guess.role)
        group: dict[str, Any] = {"role": guess.role, "lr": lr, "weight_decay": weight_decay}
        # As in `param_groups`, elementwise optimizers do not decay vectors.
        group |= {"weight_decay": 0.0} if guess.role == "vector" and not self._named.takes_norms else {}
        group |= {key: self._given_or_usual(key) for key in self._named.usual}
        group |= {"norm": self._norm(guess)} if "momentum" in self._named.usual else {}
        is_left_out = self.name == "muon" and guess.role != "hidden"
        other = "Muon updates only hidden matrices; inspect again with --optimizer adamw for the other weights"
        refusal = other if is_left_out else ""
        return checked_settings(LayerSettings(self._named.known, group, refusal=refusal), shape)

    @property
    def _named(self) -> NamedOptimizer:
        return NAMED_OPTIMIZERS[self.name]

    def _given_or_usual(self, key: str) -> Any:
        given = getattr(self, key)
        return self._named.usual[key] if given is None else given

    def _lr_and_weight_decay(self, role: str) -> tuple[float, float]:
        own = self.output_lr if role in HAS_OUTPUT_LR else None
        lr = float(self.lr if own is None else own) if self.lr is not None else 0.0
        return lr, self.decay / lr if self.decay is not None else float(self.weight_decay or 0.0)

    def _norm(self, guess: Guess) -> Any:
        if self.name == "muon":
            return MUON_NORM
        if guess.role != "hidden":
            return NORM_OF_ROLE[guess.role]
        return guess.matrices if norm_name(self.norm) in (None, "spectral") else norm_name(self.norm)

    def _check_ranges(self, lr: float) -> None:
        require_in("--lr", lr, 0, remedy="give the peak of the schedule")
        if self.output_lr is not None:
            require_in("--output-lr", self.output_lr, 0)
        for one in (lr, self.output_lr or lr):
            decay = self.decay if self.decay is not None else one * float(self.weight_decay or 0.0)
            name = "--decay" if self.decay is not None else "lr · --weight-decay"
            require_in(name, decay, 0, 1, include_low=True, remedy="it is the share of the weight that a step removes")
        for name, values in (("--momentum", [self.momentum]), ("--betas", self.betas or [])):
            for value in values:
                if value is not None:
                    require_in(name, value, 0, 1, include_low=True, remedy="PyTorch's convention is 0.9, not 0.1")

    def _check_what_the_optimizer_has(self) -> None:
        owners = {
            option: [name for name, named in _inspected().items() if option in named.usual]
            for option in ("momentum", "nesterov", "betas")
        }
        owners["norm"] = [name for name, named in _inspected().items() if named.takes_norms]
        for option, legal in owners.items():
            if getattr(self, option) is not None and self.name not in legal:
                told = f"--{option} is given with --optimizer {self.name}, which does not have it"
                raise ValueError(f"{told}; it belongs to {' or '.join(legal)}: leave it out")
        if self.norm is not None and norm_name(self.norm) not in NORMS:
            raise ValueError(f"--norm is {self.norm!r}; it must be one of {', '.join(map(repr, NORMS))}")


def _inspected() -> dict[str, NamedOptimizer]:
    return {name: named for name, named in NAMED_OPTIMIZERS.items() if name in get_args(OptimizerName)}
