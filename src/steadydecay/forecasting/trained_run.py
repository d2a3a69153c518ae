"""A trained run: its recipe, and the norms that it measured."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
import torch

from steadydecay.forecasting.layer_kinds import LayerKind, layer_kinds
from steadydecay.forecasting.model_bounds import bounded_tensors, require_bounded
from steadydecay.groups.prediction import stepped_by
from steadydecay.recipes.named_recipes import RECIPES
from steadydecay.recipes.optimizers import OPTIMIZERS, require_trainable
from steadydecay.recipes.recipe import Recipe, is_required, require_legal
from steadydecay.run_log.reader import read_log
from steadydecay.run_log.record import LOG_NAME


@final
@dataclass(frozen=True)
class Measured:
    """A measure of a kind of layers at some steps, as the root mean square over its layers."""

    steps: np.ndarray
    values: np.ndarray

    def at(self, steps: Any) -> np.ndarray:
        """Interpolate the measure. Before the first and after the last step, it is constant."""
        return np.interp(steps, self.steps, self.values)


@final
@dataclass(frozen=True)
class TrainedRun:
    """The contents of a run's log.

    Attributes:
        name: The name of its folder.
        recipe: The recipe that was trained.
        weight_norms, update_norms: ‖θ‖ and ‖γu‖ by layer and then by step. The latter is empty in logs without updates.
        decided: The first record, which also says what the data decided.
    """

    name: str
    recipe: Recipe
    weight_norms: Mapping[str, Mapping[int, float]]
    update_norms: Mapping[str, Mapping[int, float]]
    decided: Mapping[str, Any] = field(default_factory=dict)

    def weight_norm(self, kind: LayerKind) -> Measured | None:
        """Return ‖θ‖ of one layer of a kind, or None if the log has none of them."""
        return _of_kind(self.weight_norms, kind)

    def update_norm(self, kind: LayerKind, shares: Sequence[float]) -> Measured | None:
        """Return ‖u‖, without γ, of one layer of a kind, or None if the log has none of them.

        Args:
            kind: The kind of layers, with the learning rate of the peak.
            shares: The learning rate of each step as a share of the peak. Where it is 0, ‖u‖ cannot be determined.
        """
        lr_at = {step: share * float(kind.settings["lr"]) for step, share in enumerate(shares, start=1) if share}
        without_lr = {
            name: {step: norm / lr_at[step] for step, norm in added.items() if step in lr_at}
            for name, added in self.update_norms.items()
        }
        return _of_kind(without_lr, kind)


def read_run(folder: Path) -> TrainedRun:
    """Read the run in a folder that `steadydecay train` wrote, or the only run that `steadydecay compare` wrote there.

    Raises:
        ValueError: There is no log, there are several, or the log lacks the configuration of a recipe.
    """
    log = read_log(_log_below(folder))
    weight_norms: dict[str, dict[int, float]] = {}
    update_norms: dict[str, dict[int, float]] = {}
    for step, name, measures in _layer_records(log.records):
        if "weight_norm" in measures:
            weight_norms.setdefault(name, {})[step] = measures["weight_norm"]
        if "update_norm" in measures:
            update_norms.setdefault(name, {})[step] = measures["update_norm"]
    recipe = _recipe(log.configuration, folder)
    return TrainedRun(folder.name, recipe, weight_norms, update_norms, log.configuration)


def kinds_of_run(run: TrainedRun) -> list[LayerKind]:
    """Return the kinds of layers of the run's model as its seed made it, without changing torch's generator.

    Raises:
        ValueError, OSError: The log of an older version does not say what the data decided, such as the size of the
            vocabulary, and the data are not where they were; or the model is too large for `model_bounds` or for this
            machine.
    """
    recipe = run.recipe
    try:
        with torch.random.fork_rng(), bounded_tensors():
            torch.manual_seed(recipe.seed)
            data = recipe.data_like(run.decided)
            model = recipe.build_model(recipe.load_data() if data is None else data)
    # This is how torch reports that memory is short.
    except RuntimeError as error:
        raise ValueError(f"run is {run.name!r}, whose model this machine cannot build ({error})") from None
    optimizer = OPTIMIZERS[recipe.optimizer](model, recipe)
    groups = [(group, stepped_by(optimizer, group)) for group in optimizer.param_groups]
    return layer_kinds(groups, lambda name, parameter, group: parameter.detach().double().square().sum().item())


def _log_below(folder: Path) -> Path:
    if not folder.is_dir():
        raise ValueError(f"folder is {str(folder)!r}, which is not a folder; give the --out of `steadydecay train`")
    if (folder / LOG_NAME).is_file():
        return folder / LOG_NAME
    below = sorted(folder.glob(f"*/{LOG_NAME}"))
    if len(below) > 1:
        names = ", ".join(str(path.parent) for path in below[:5])
        raise ValueError(f"folder is {str(folder)!r}, which contains {len(below)} runs; give one of them: {names}")
    if not below:
        raise ValueError(
            f"folder is {str(folder)!r}, which contains no {LOG_NAME}; give the --out of `steadydecay train`"
        )
    return below[0]


def _recipe(configuration: Mapping[str, Any], folder: Path) -> Recipe:
    # Recognise the recipe by its fields: it is the class whose fields the configuration has.
    for recipe_type in RECIPES.values():
        names = {field.name for field in dataclasses.fields(recipe_type)}
        if configuration.keys() >= {field.name for field in dataclasses.fields(recipe_type) if is_required(field)}:
            recipe = recipe_type(**{name: configuration[name] for name in names & configuration.keys()})
            return _checked(recipe, folder)
    missing = ", ".join(
        field.name for field in dataclasses.fields(Recipe) if is_required(field) and field.name not in configuration
    )
    raise ValueError(f"folder is {str(folder)!r}, whose log is not that of a steadydecay recipe: it lacks {missing}")


def _checked(recipe: Recipe, folder: Path) -> Recipe:
    try:
        require_trainable(recipe.optimizer)
        require_legal(recipe)
        require_bounded(dataclasses.asdict(recipe))
    except (ValueError, TypeError) as error:
        raise ValueError(f"folder is {str(folder)!r}, whose log has an impossible recipe: {error}") from None
    return recipe


def _layer_records(records: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, str, Mapping[str, Any]]]:
    """Yield step, layer and measures from "step" records, which have only norms, and from "watch" records."""
    for record in records:
        layers, step = record.get("layers"), record.get("step")
        if not isinstance(layers, Mapping) or not isinstance(step, int):
            continue
        for name, measures in layers.items():
            measures = measures if isinstance(measures, Mapping) else {"weight_norm": measures}
            yield step, name, {key: value for key, value in measures.items() if _is_finite(value)}


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and bool(np.isfinite(value))


def _of_kind(by_layer: Mapping[str, Mapping[int, float]], kind: LayerKind) -> Measured | None:
    members = [by_layer[name] for name in kind.names if name in by_layer]
    if not members:
        return None
    steps = sorted(set.intersection(*(set(member) for member in members)))
    values = [np.sqrt(np.mean([member[step] ** 2 for member in members])) for step in steps]
    return Measured(np.asarray(steps), np.asarray(values)) if steps else None
