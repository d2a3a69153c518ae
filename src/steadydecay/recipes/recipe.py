"""The interface of a recipe: plain fields that say what is trained, and four methods for the model and its data."""

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
    """What is trained. Its fields are the first record of a run's log.

    Subclasses add plain fields and four methods. `recipe_for` makes a recipe from a size and an optimizer: fields
    without a default come from `SIZES` and `TUNED`, or are derived from other fields.

    Attributes:
        SIZES: The fields of each size, the only dial of a recipe. They include `steps` and `batch_size`.
        TUNED: `lr`, `decay_per_step` and other tuned fields, by size and then by optimizer family.
        COUNTS: The names of a subclass's own fields that must be whole numbers of at least 1.
        DERIVED: A subclass's own fields that derive from others, as in `recipes/derivation.py`.
        COMPARED: The optimizers that `steadydecay compare` uses by default.
        ITEM: The unit in which training is counted, in the plural. `items_per_example` says how many an example has.
        MEANT_DATA: For each size, what `decided_by` would say about the data for which the size is meant. A budget is
            based on it if the data are not available. Its `meant_data` names them.
        size: The key of `SIZES` from which other values came.
        optimizer: A key of `steadydecay.recipes.optimizers.OPTIMIZERS`.
        data: The location of the data. None is the data that come with the recipe.
        steps: The number of optimizer steps of the whole run.
        warmup_steps: How many of these steps belong to the linear warm-up from 0.
        seed: The seed of the weights and of the order of the data.
        batch_size: The number of examples per optimizer step, over all ranks and accumulated batches.
        accumulate: The number of backward passes per optimizer step, a divisor of batch_size.
        lr: The learning rate γ at the peak.
        output_lr: The learning rate γ at the peak for the output layer and embeddings.
        momentum: The momentum β, or Adam's β₁.
        beta2: Adam's or Lion's β₂. None is the usual value, 0.95 or 0.99.
        nesterov: Whether Scion and SGDW use Nesterov momentum. None is the usual choice (only Muon does).
        decay_per_step: The share η = γλ of each layer's weight that one step removes at the peak.
        decay_rule: How the decay follows the schedule: a key of `steadydecay.theory.DECAY_RULES`, or "lr_squared" for
            η ∝ γ² whatever the momentum does. None is the optimizer's own rule.
        correct_output: Whether the rule also applies to the output layer, whose decay is otherwise constant.
        carrier: What carries the cosine schedule, a key of `steadydecay.recipes.carriers.CARRIERS` such as "lr" or
            "momentum".
        steady_norm_end: The share of its start at which S ends on a cosine. None keeps S constant.
        clip: The largest gradient norm. None turns clipping off.
        precision: "float32", "bfloat16" (autocast) or "auto".
        compile: Whether to run the model through torch.compile.
        evaluate_every, checkpoint_every, layers_every: The steps between evaluations, checkpoints, and records of
            `sd.watch`.
        keep_checkpoints: How many checkpoints to keep.
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
        """Return how many of `ITEM` an example has."""
        return 1

    @property
    def items_per_step(self) -> int:
        """How many of `ITEM` an optimizer step processes, over all ranks."""
        return self.batch_size * self.items_per_example

    @abstractmethod
    def load_data(self) -> Any:
        """Open the data. Small data are held in memory, large data are memory-mapped."""

    @abstractmethod
    def build_model(self, data: Any) -> nn.Module:
        """Return a module that maps a batch to its mean loss. It draws its weights from torch's global generator.

        In evaluation mode it may return a mapping of means over the examples instead, which must include "loss".
        """

    @abstractmethod
    def train_batch(self, data: Any, step: int, micro_step: int, rank: int, world_size: int) -> Batch:
        """Return a rank's share of one backward pass. It must be a pure function, so that a run resumes at any step."""

    @abstractmethod
    def validation_batches(self, data: Any) -> Iterable[Batch]:
        """Return the validation batches, which must be the same on every call.

        Each rank goes through all of them and evaluates its own. If batches are expensive to make, return
        `steadydecay.recipes.workers.MadeItems`, so that each rank makes only its own.
        """

    def augmented(self, data: Any, batch: Batch, step: int, micro_step: int, rank: int, world_size: int) -> Batch:
        """Augment a training batch on the device that trains. It must be a pure function."""
        return batch

    def decided_by(self, data: Any) -> dict[str, Any]:
        """Return what the data decided, for the first record of the log: numbers, text, lists and mappings."""
        return {}

    def epoch_examples(self, data: Any) -> int | None:
        """Return the number of training examples, each of which occurs once per epoch, or None if it is unknown."""
        return None

    def data_like(self, decided: Mapping[str, Any]) -> Any:
        """Return data with blank examples that stand for data that are not available, or None if too little is known.

        Args:
            decided: What `decided_by` said about the run's data. As in a log, it may contain other entries.
        """
        return None


def is_required(field: Field[Any]) -> bool:
    """Return whether a recipe must have a value for this field."""
    return field.default is MISSING and field.default_factory is MISSING


def require_legal(recipe: Recipe) -> None:
    """Raise ValueError unless every number of the recipe is in its range."""
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
    require_in("decay_per_step", recipe.decay_per_step, 0, 1, include_low=True, remedy="it is the share a step removes")
    if recipe.steady_norm_end is not None:
        require_in("steady_norm_end", recipe.steady_norm_end, 0, remedy="it is a share of S, and 1 keeps S constant")
    if recipe.clip is not None:
        require_in("clip", recipe.clip, 0, remedy="clip=none turns clipping off")


def _require_count(name: str, value: Any) -> None:
    if not isinstance(value, int):
        raise ValueError(f"{name} is {value!r}; it must be a whole number of at least 1")
    require_in(name, value, 1, include_low=True)


def require_divisor(recipe: Recipe) -> None:
    """Raise ValueError unless the backward passes of a step divide its batch evenly."""
    if recipe.accumulate < 1 or recipe.batch_size % recipe.accumulate:
        raise ValueError(f"accumulate is {recipe.accumulate!r}; it must be a divisor of batch_size={recipe.batch_size}")
