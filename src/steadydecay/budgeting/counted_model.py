"""Count a recipe's model with torch without training it: parameters, FLOPs, optimizer state and activations."""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.optim import Optimizer
from torch.utils.flop_counter import FlopCounterMode

from steadydecay.recipes.optimizers import OPTIMIZERS
from steadydecay.recipes.precision import autocast
from steadydecay.recipes.recipe import Batch, Recipe

META = torch.device("meta")
# More than one example, because a layer may take statistics over the batch.
COUNTED_ROWS = 2


class Activations(NamedTuple):
    """The bytes that the forward pass keeps for the backward pass: per example, and independent of their number.

    The latter are mainly copies of the weights in bfloat16.
    """

    of_example: float
    of_weights: float

    def of_examples(self, examples: float) -> int:
        return math.ceil(self.of_weights + examples * self.of_example)


@final
@dataclass(frozen=True)
class CountedModel:
    """Counts of one model under one optimizer.

    Attributes:
        model, optimizer: The counted objects. Their tensors have no content.
        flops_per_example: The FLOPs of a forward and a backward pass, by torch's counter.
        activations: An estimate of what the forward pass keeps, or None if torch cannot tell.
        device: "meta", or "cpu" if the model cannot be built without memory.
    """

    model: nn.Module
    optimizer: Optimizer
    flops_per_example: float
    activations: Activations | None
    device: str

    def state_bytes_of(self, parameter: Tensor) -> int:
        """Return the bytes of the optimizer's state for a parameter."""
        return sum(map(bytes_of, filter(torch.is_tensor, self.optimizer.state[parameter].values())))


def counted_model(recipe: Recipe, data: Any) -> CountedModel:
    """Count a recipe's model on tensors without memory or, if that is impossible, with a real batch on the CPU.

    torch's generator stays as it was. Errors of the recipe itself are raised.
    """
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        rows = min(COUNTED_ROWS, recipe.batch_size)
        few = replace(recipe, batch_size=rows, accumulate=1)
        batch = few.augmented(data, few.train_batch(data, 0, 0, 0, 1), 0, 0, 0, 1)
        try:
            counts = _counted(few, _built_on_meta(recipe, data), tuple(part.to(META) for part in batch))
        # A model from elsewhere may do what meta tensors do not support, and raise anything.
        except Exception:
            counts = _counted(few, recipe.build_model(data), batch)
        return replace(counts, activations=_activations(recipe, data, batch))


def bytes_of(tensor: Tensor) -> int:
    """Return the bytes of a tensor's numbers."""
    return math.prod(tensor.shape) * tensor.element_size()


def _built_on_meta(recipe: Recipe, data: Any) -> nn.Module:
    with META:
        model = recipe.build_model(data)
    # What the data provide, such as the mean of the pixels, was made on another device.
    return model.to(META)


def _counted(recipe: Recipe, model: nn.Module, batch: Batch) -> CountedModel:
    optimizer = OPTIMIZERS[recipe.optimizer](model, recipe)
    counter = FlopCounterMode(display=False)
    with counter:
        model(*batch).backward()
    if not optimizer.state:
        # torch's own optimizers create their state in the first step.
        optimizer.step()
    flops = counter.get_total_flops() / recipe.batch_size
    return CountedModel(model, optimizer, flops, None, next(model.parameters()).device.type)


def _activations(recipe: Recipe, data: Any, batch: Batch) -> Activations | None:
    """Use a GPU's precision, and the CPU's fused attention, which like a GPU's keeps no matrix of pairs."""
    rows, doubled = len(batch[0]), tuple(torch.cat([part, part]) for part in batch)
    try:
        once, twice = (_kept_bytes(recipe, data, one) for one in (batch, doubled))
    # As above, and a missing estimate is no reason to stop.
    except Exception:
        return None
    return Activations((twice - once) / rows, 2 * once - twice)


def _kept_bytes(recipe: Recipe, data: Any, batch: Batch) -> int:
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        model = recipe.build_model(data)
        # Autocast on a CPU keeps the same as on a GPU, where "auto" is bfloat16.
        precision = "bfloat16" if recipe.precision == "auto" else recipe.precision
        with _kept_storages() as kept, autocast(precision, torch.device("cpu")):
            model(*(mode.from_tensor(part) for part in batch))
        own = {one.untyped_storage()._cdata for one in (*model.parameters(), *model.buffers())}
        return sum(size for key, size in kept.items() if key not in own)


@contextlib.contextmanager
def _kept_storages() -> Iterator[dict[int, int]]:
    """Collect the bytes of each storage that autograd keeps inside the block."""
    sizes: dict[int, int] = {}
    # Keep the storages alive, so that no address is used twice.
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        storage = tensor.untyped_storage()
        # An expanded tensor has less memory than its size suggests, and a slice uses only a part of its storage.
        size = min(bytes_of(tensor), storage.nbytes())
        sizes[storage._cdata] = max(size, sizes.get(storage._cdata, 0))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield sizes
