"""What a recipe is: plain fields that say what is trained, and four methods that know the model and its data."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from steadydecay.theory.validation import require_in

Batch = tuple[Tensor, ...]
Fields = Mapping[str, Any]
COUNTS_OF_ALL = ("steps", "batch_size", "accumulate", "evaluate_every", "checkpoint_every", "layers_every")
COUNTS_OF_ALL += ("keep_checkpoints",)


@dataclass(frozen=True, kw_only=True)
class Recipe(ABC):
    """What is trained; its fields are the first record of a run's log. Subclasses add plain fields and four methods.

    `recipe_for` makes one from a size and an optimizer: fields without a default come from `SIZES` and `TUNED`, or are
    derived there.

    Attributes:
        SIZES: the one dial: fields by size, `steps` and `batch_size` among them.
        TUNED: by size, then by family of optimizers: `lr`, `decay_per_step` and what else was tuned.
        COUNTS: names of a subclass's own fields that are whole numbers from 1 on.
        DERIVED: a subclass's own fields that follow from others, as in `recipes/derivation.py`.
        COMPARED: the optimizers that `steadydecay compare` takes where nobody names some.
        ITEM: what training is counted in, in the plural; `items_per_example` says how many an example has.
        MEANT_DATA: by size, what `decided_by` would say of the data that the size is meant for; a budget is made of it
            where the data are not at hand. Its `meant_data` names them.
        size: where the other values came from.
        optimizer: a key of `steadydecay.recipes.optimizers.OPTIMIZERS`.
        data: where the data are; None is what comes with the recipe.
        steps: optimizer steps of the whole run.
        warmup_steps: of them, linear from 0.
        seed: of the weights and of the order of the data.
        batch_size: examples per optimizer step, over all ranks and accumulation.
        accumulate: backward passes per optimizer step, a divisor of batch_size.
        lr, output_lr: γ at the peak, of the output layer and embeddings apart.
        momentum: β, or Adam's β₁.
        beta2: Adam's or Lion's β₂; None for the usual one, 0.95 or 0.99.
        nesterov: look ahead by one gradient, under Scion and SGDW; None for what is usual (only Muon does).
        decay_per_step: η = γλ at the peak, for every layer.
        decay_rule: how the decay follows the schedule: a key of `steadydecay.theory.DECAY_RULES`, or "lr_squared" for
            η ∝ γ² whatever the momentum does; None for the optimizer's own.
        correct_output: whether the rule holds for the output layer, too, whose decay is otherwise constant.
        carrier: what the cosine is carried by, a key of `steadydecay.recipes.carriers.CARRIERS`: "lr", "momentum", …
        steady_norm_end: the share of its start at which S ends on a cosine; None for no schedule.
        clip: largest gradient norm, None for no clipping.
        precision: "float32", "bfloat16" (autocast) or "auto".
        compile: run the model through torch.compile.
        evaluate_every, checkpoint_every, layers_every: steps between evaluations, checkpoints, records of `sd.watch`.
        keep_checkpoints: how many stay.
    """

    SIZES: ClassVar[Mapping[str, Fields]]
    TUNED: ClassVar[Mapping[str, Mapping[str, Fields]]]
    COUNTS: ClassVar[tuple[str, ...]] = ()
    DERIVED: ClassVar[Mapping[str, Callable[[Fields], Any]]] = {}
    COMPARED: ClassVar[tuple[str, ...]] = ("adamw", "scion", "scionc")
    ITEM: ClassVar[str] = "examples"
    MEANT_DATA: ClassVar[Mapping[str, Fields]] = {}

    size: str
    optimizer: str
    data: str | None = None
    steps: int
    warmup_steps: int
    seed: int = 0
    batch_size: int
    accumulate: int = 1
    lr: float
    output_lr: float
    momentum: float
    beta2: float | None = None
    nesterov: bool | None = None
    decay_per_step: float
    decay_rule: str | None = None
    correct_output: bool = False
    carrier: str = "lr"
    steady_norm_end: float | None = None
    clip: float | None
    precision: str = "auto"
    compile: bool = False
    evaluate_every: int
    checkpoint_every: int
    keep_checkpoints: int = 2
    layers_every: int

    @property
    def items_per_example(self) -> int:
        """How many of `ITEM` an example has."""
        return 1

    @property
    def items_per_step(self) -> int:
        """How many of `ITEM` an optimizer step takes, over all ranks."""
        return self.batch_size * self.items_per_example

    @abstractmethod
    def load_data(self) -> Any:
        """Open the data; small things in memory, large ones mapped."""

    @abstractmethod
    def build_model(self, data: Any) -> nn.Module:
        """A module whose call with a batch gives its mean loss; draws its weights from torch's global generator.

        In evaluation mode it may give a mapping of means over the examples instead, with "loss" among them.
        """

    @abstractmethod
    def train_batch(self, data: Any, step: int, micro_step: int, rank: int, world_size: int) -> Batch:
        """A rank's share of one backward pass; a pure function, so that a run resumes at any step."""

    @abstractmethod
    def validation_batches(self, data: Any) -> Iterable[Batch]:
        """The same batches on every call.

        Each rank goes through all of them and evaluates its own. Where batches cost much to make, let them be
        `steadydecay.recipes.workers.MadeItems`, of which each rank makes its own alone.
        """

    def augmented(self, data: Any, batch: Batch, step: int, micro_step: int, rank: int, world_size: int) -> Batch:
        """A training batch, on the device that trains, as the model is called with it; a pure function."""
        return batch

    def decided_by(self, data: Any) -> dict[str, Any]:
        """What the data decided, for the first record of the log: numbers, text, lists and mappings."""
        return {}

    def epoch_examples(self, data: Any) -> int | None:
        """How many examples there are to train on, each once in an epoch; None where the recipe does not know."""
        return None

    def data_like(self, decided: Mapping[str, Any]) -> Any:
        """Data with blank examples, where the run's own are not at hand; None if what is told is not enough.

        Args:
            decided: what `decided_by` said of the run's data, among other things, as a log may hold it.
        """
        return None


def is_required(field: Field[Any]) -> bool:
    """Whether a recipe cannot be without a value for this field."""
    return field.default is MISSING and field.default_factory is MISSING


def require_legal(recipe: Recipe) -> None:
    """ValueError unless every number of the recipe is in its range."""
    for name in (*COUNTS_OF_ALL, *recipe.COUNTS):
        if (value := getattr(recipe, name)) is not None:
            _require_count(name, value)
    require_divisor(recipe)
    require_in("warmup_steps", recipe.warmup_steps, 0, recipe.steps, include_low=True, remedy="it is part of steps")
    require_in("seed", recipe.seed, -(2**63), 2**64, include_low=True)
    require_in("lr", recipe.lr, 0)
    require_in("output_lr", recipe.output_lr, 0)
    require_in("momentum", recipe.momentum, 0, 1, include_low=True, remedy="PyTorch's convention is 0.9")
    if recipe.beta2 is not None:
        require_in("beta2", recipe.beta2, 0, 1, include_low=True, remedy="PyTorch's convention is 0.999")
    require_in("decay_per_step", recipe.decay_per_step, 0, 1, include_low=True, remedy="it is the share lost in a step")
    if recipe.steady_norm_end is not None:
        require_in("steady_norm_end", recipe.steady_norm_end, 0, remedy="it is a share of S; 1 holds it")
    if recipe.clip is not None:
        require_in("clip", recipe.clip, 0, remedy="clip=none turns clipping off")


def _require_count(name: str, value: Any) -> None:
    if not isinstance(value, int):
        raise ValueError(f"{name} is {value!r}; legal are whole numbers from 1 on")
    require_in(name, value, 1, include_low=True)


def require_divisor(recipe: Recipe) -> None:
    """ValueError unless the backward passes of a step share its batch evenly."""
    if recipe.accumulate < 1 or recipe.batch_size % recipe.accumulate:
        raise ValueError(f"accumulate is {recipe.accumulate!r}; legal is a divisor of batch_size={recipe.batch_size}")
