"""What the training function needs of a recipe, and how text overrides one of its fields."""

import difflib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, Union, get_args, get_origin, get_type_hints

from torch import Tensor, nn

from steadydecay.theory.validation import require_in

Batch = tuple[Tensor, ...]


class Recipe(Protocol):
    """A frozen dataclass of plain values that says what is trained; the first record of a run's log.

    Attributes:
        optimizer: a key of `steadydecay.recipes.optimizers.OPTIMIZERS`.
        steps: optimizer steps of the whole run.
        warmup_steps: of them, linear from 0.
        seed: of the weights and of the order of the data.
        batch_size: examples per optimizer step, over all ranks and accumulation.
        accumulate: backward passes per optimizer step.
        lr, output_lr: γ at the peak, of the output layer and embeddings apart.
        momentum: β, or Adam's β₁.
        decay_per_step: η = γλ at the peak, for every layer.
        clip: largest gradient norm, None for no clipping.
        precision: "float32", "bfloat16" (autocast) or "auto".
        compile: run the model through torch.compile.
        evaluate_every, checkpoint_every, layers_every: steps between evaluations, checkpoints, records of `sd.watch`.
        keep_checkpoints: how many stay.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def optimizer(self) -> str: ...
    @property
    def steps(self) -> int: ...
    @property
    def warmup_steps(self) -> int: ...
    @property
    def seed(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def accumulate(self) -> int: ...
    @property
    def lr(self) -> float: ...
    @property
    def output_lr(self) -> float: ...
    @property
    def momentum(self) -> float: ...
    @property
    def decay_per_step(self) -> float: ...
    @property
    def clip(self) -> float | None: ...
    @property
    def precision(self) -> str: ...
    @property
    def compile(self) -> bool: ...
    @property
    def evaluate_every(self) -> int: ...
    @property
    def checkpoint_every(self) -> int: ...
    @property
    def layers_every(self) -> int: ...
    @property
    def keep_checkpoints(self) -> int: ...

    def load_data(self) -> Any:
        """Open the data; small things in memory, large ones mapped."""
        ...

    def build_model(self, data: Any) -> nn.Module:
        """A module whose call with a batch gives its mean loss; draws its weights from torch's global generator."""
        ...

    def train_batch(self, data: Any, step: int, micro_step: int, rank: int, world_size: int) -> Batch:
        """A rank's share of one backward pass; a pure function, so that a run resumes at any step."""
        ...

    def validation_batches(self, data: Any) -> Iterator[Batch]:
        """The same batches on every call."""
        ...


def require_legal(recipe: Recipe) -> None:
    """ValueError unless every number that a recipe shares with all others is in its range."""
    whole = ("steps", "accumulate", "evaluate_every", "checkpoint_every", "layers_every", "keep_checkpoints")
    for name in whole:
        require_in(name, getattr(recipe, name), 1, include_low=True)
    require_in("warmup_steps", recipe.warmup_steps, 0, recipe.steps, include_low=True, remedy="it is part of steps")
    require_in("seed", recipe.seed, -(2**63), 2**64, include_low=True)
    require_in("lr", recipe.lr, 0)
    require_in("output_lr", recipe.output_lr, 0)
    require_in("momentum", recipe.momentum, 0, 1, include_low=True, remedy="PyTorch's convention is 0.9")
    require_in("decay_per_step", recipe.decay_per_step, 0, 1, include_low=True, remedy="it is the share lost in a step")
    if recipe.clip is not None:
        require_in("clip", recipe.clip, 0, remedy="clip=none turns clipping off")


def parsed_overrides(recipe_type: type, texts: Iterable[str]) -> dict[str, Any]:
    """Fields and typed values of texts such as "lr=0.03" for a dataclass.

    Raises:
        ValueError: no "=", a name the recipe does not have (with the nearest that it has), a value of another type.
    """
    hints = get_type_hints(recipe_type)
    pairs = [_split(text) for text in texts]
    for name, _ in pairs:
        if name not in hints:
            raise ValueError(f"override names {name!r}, which is no field{nearest(name, hints)}")
    return {name: _typed(name, value, hints[name]) for name, value in pairs}


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint for a message: the nearest right name, or all of them."""
    names = list(names)
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; legal are {', '.join(names)}"


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Fields in which two configurations differ, as text: "lr: 0.04, now 0.03"."""
    names = dict.fromkeys([*old, *new])
    return [f"{name}: {old.get(name)!r}, now {new.get(name)!r}" for name in names if old.get(name) != new.get(name)]


def _split(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"override is {text!r}; legal is name=value, such as lr=0.03")
    return name.strip(), value.strip()


def _typed(name: str, value: str, hint: Any) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        if value.lower() == "none":
            return None
        hint = next(option for option in get_args(hint) if option is not type(None))
    if get_origin(hint) is typing.Literal:
        return _one_of(name, value, get_args(hint))
    if hint is bool:
        return _one_of(name, value.lower(), ("true", "false")) == "true"
    try:
        return {int: int, float: float, str: str, Path: Path}[hint](value)
    except ValueError:
        raise ValueError(f"override {name} is {value!r}; legal is {hint.__name__}") from None


def _one_of(name: str, value: str, legal: tuple[str, ...]) -> str:
    if value not in legal:
        raise ValueError(f"override {name} is {value!r}{nearest(value, legal)}")
    return value
