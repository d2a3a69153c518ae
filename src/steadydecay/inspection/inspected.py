"""Read one checkpoint completely, and measure every weight beside what its hyperparameters predict."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from steadydecay.inspection import torch_file
from steadydecay.inspection.buffers import buffers_among, is_fixed
from steadydecay.inspection.checkpoint_files import CheckpointFiles, found_files
from steadydecay.inspection.given_settings import GivenSettings
from steadydecay.inspection.inspected_layers import Layer
from steadydecay.inspection.layer_settings import LayerSettings
from steadydecay.inspection.module_skeleton import Guess, guesses
from steadydecay.inspection.optimizer_states import State, optimizer_states
from steadydecay.inspection.plain_names import plain_name, plain_names
from steadydecay.inspection.stored_settings import At, groups_of, names_of_moved, number_moved, stored_settings
from steadydecay.inspection.stored_weight import StoredWeight
from steadydecay.inspection.stored_weights import Weights, found_weights
from steadydecay.inspection.torch_loading import load
from steadydecay.inspection.weight_measures import measures_of_weight
from steadydecay.norms import NormSpec, norm_name

OnEntries = Callable[[int, int], None]
MOST_NAMES = 3


@final
@dataclass(frozen=True)
class Inspection:
    """What was found in a checkpoint.

    Attributes:
        main: The file, or the index of its shards.
        files: The files that contain its weights.
        layers: Its floating-point weights.
        left_out: The number of other tensors.
        steps: The number of steps that the weights were trained for, or None if no file says so.
        problems: Files beside the weights that could not be read.
        buffers: Floating-point tensors that are not weights, as far as names, shapes and values show.
        elsewhere: Keys of the file that contain tensors which were not looked at.
        has_state: Whether an optimizer's state is stored with the weights.
        moved: The number of weights that its groups move.
    """

    main: Path
    files: tuple[Path, ...]
    layers: list[Layer]
    left_out: int
    steps: int | None
    problems: tuple[str, ...]
    buffers: tuple[StoredWeight, ...] = ()
    elsewhere: tuple[str, ...] = ()
    has_state: bool = False
    moved: int = 0

    @property
    def title(self) -> str:
        """What was read, and how much of it there is."""
        entries = sum(layer.weight.size for layer in self.layers)
        shards = f" ({len(self.files)} shards)" if len(self.files) > 1 else ""
        steps = "" if self.steps is None else f", after {self.steps:,} steps"
        return f"{self.main}{shards}: {len(self.layers):,} weights, {entries:,} entries{steps}"

    @property
    def settings_lines(self) -> list[str]:
        """Each different settings once, with the number of weights that they move."""
        counts = Counter(layer.settings.text for layer in self.layers if layer.settings is not None)
        return [f"{text} ({count} weight{'s' if count > 1 else ''})" for text, count in counts.items()]


def inspect_checkpoint(
    path: Path,
    given: GivenSettings,
    at: At = "peak",
    *,
    with_spectral: bool = True,
    on_entries: OnEntries = lambda done, total: None,
) -> Inspection:
    """Measure every weight of a checkpoint. Nothing is written, and one weight at a time is in memory.

    Args:
        path: A file, an index of shards, or a folder that contains one.
        given: Hyperparameters. Without any, those stored in the file or beside it are used.
        at: Which of the stored learning rates predictions are for.
        with_spectral: Whether to measure spectral norms too, which takes most of the time.
        on_entries: Called after each weight with the number of entries that are measured and that exist.

    Raises:
        OSError, ValueError: A file is missing, foreign, damaged or hostile. The message names it and a remedy.
    """
    files = found_files(path)
    every = found_weights(files)
    holder, problems = _holder_of_settings(files, every, given)
    states = optimizer_states(holder)
    buffers = _guessed_buffers(every, states)
    weights = every.without({one.name for one in buffers})
    guessed = guesses(weights.listed, weights.in_model_order)
    if given.is_given:
        settings = {one.name: given.settings_of(guessed[one.name], one.shape) for one in weights.listed}
    else:
        settings = stored_settings(states, weights.listed, at)
    layers = list(_measured(weights, guessed, settings, buffers, with_spectral, on_entries))
    if not layers:
        raise ValueError(f"{files.main} contains no weight, only {_count(buffers)}; give a model's file")
    return Inspection(
        files.main,
        tuple(sorted(files.shards)),
        layers,
        len(weights.other_names),
        torch_file.steps_of(holder),
        problems,
        tuple(buffers),
        tuple(torch_file.keys_elsewhere(weights.content)),
        bool(states),
        number_moved(group for state in states for group in groups_of(state)),
    )


def _guessed_buffers(weights: Weights, states: list[State]) -> list[StoredWeight]:
    """Return what looks like a buffer and is named by no group of an optimizer."""
    moved = names_of_moved(states)
    names = [*weights.other_names, *(one.name for one in weights.listed)]
    return [one for one in buffers_among(weights.listed, names) if plain_name(one.name) not in moved]


def _count(buffers: list[StoredWeight]) -> str:
    names = ", ".join(one.name for one in buffers[:MOST_NAMES])
    return f"buffers and caches ({names})"


def _holder_of_settings(files: CheckpointFiles, weights: Weights, given: GivenSettings) -> tuple[Any, tuple[str, ...]]:
    """Return what contains the optimizer's state (the checkpoint or the file beside it), and why that failed if it
    did."""
    is_inside = bool(optimizer_states(weights.content))
    if given.is_given or is_inside or files.optimizer is None:
        return weights.content, ()
    try:
        return load(files.optimizer).content, ()
    except ValueError as error:
        return weights.content, (str(error),)


def _measured(
    weights: Weights,
    guessed: Mapping[str, Guess],
    settings: Mapping[str, LayerSettings],
    buffers: list[StoredWeight],
    with_spectral: bool,
    on_entries: OnEntries,
) -> Iterator[Layer]:
    """Return the rows. Masks and filters that only their values reveal are added to the buffers."""
    names = plain_names([one.name for one in weights.listed])
    done, total = 0, sum(one.size for one in weights.listed)
    for weight, tensor in weights.tensors():
        guess, own = guessed[weight.name], settings.get(weight.name)
        done += weight.size
        if is_fixed(tensor):
            buffers.append(weight)
        else:
            matrices = _matrices(guess, own) if with_spectral else None
            role = guess.role if own is None else str(own.group.get("role", guess.role))
            yield Layer(weight, names[weight.name], role, measures_of_weight(tensor, matrices), own)
        on_entries(done, total)


def _matrices(guess: Guess, settings: LayerSettings | None) -> NormSpec | None:
    """Return how the weight was split in training, as far as its group says so."""
    norm: Any = None if settings is None or settings.refusal else settings.group.get("norm")
    name = norm.get("name") if isinstance(norm, dict) else norm
    return norm if norm_name(name) == "spectral" else guess.matrices
