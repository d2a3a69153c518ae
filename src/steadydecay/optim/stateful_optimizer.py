"""Optimizers whose state exists from construction on, and fits their weights whenever a step runs."""

import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor

from steadydecay.correction.references import begin_references_anew, unsaid_reference
from steadydecay.groups.key_types import NO_WEIGHT_CHANGED, as_pair, require_types
from steadydecay.groups.settings import Group, saved_arguments, weight_decay_of_step, with_references
from steadydecay.groups.weight_names import as_list
from steadydecay.known_optimizers.update_momentum import UpdateMomentum
from steadydecay.optim.fitting_state import StateKeys, fingerprint, refit, require_fitting
from steadydecay.optim.legal_weights import (
    REAL_AND_COMPLEX,
    illegal_weights,
    require_no_gradient,
    require_steppable,
)
from steadydecay.parallel.cuts import Cut, cut_of
from steadydecay.parallel.presence import agree_on_gradients
from steadydecay.parallel.rank_groups import RankGroups
from steadydecay.tensors.low_precision import is_low_precision, require_mode


def as_built(loaded: Mapping[str, Any], built: Mapping[str, Any], defaults: Mapping[str, Any]) -> Group:
    """Return a group of a state dict, with missing constructor arguments and role as they were built."""
    kept = {key: built[key] for key in (*defaults, "role") if key in built}
    return {**defaults, **kept, **loaded}


class StatefulOptimizer(torch.optim.Optimizer):
    """The base class that keeps state and weights together. A subclass defines what its state is.

    Attributes:
        update_momentum: How the momentum of the groups is read.
        steppable: The dtypes of weights that can be stepped.
    """

    update_momentum: ClassVar[UpdateMomentum]
    steppable: ClassVar[tuple[torch.dtype, ...]] = REAL_AND_COMPLEX
    # The sharded weights. None of these attributes is pickled, so that a copy finds them itself.
    cuts: Mapping[Tensor, Cut] = MappingProxyType({})
    _peers: RankGroups | None = None
    # The fingerprint at the last look.
    _seen: list[Any] | None = None
    _types: list[list[type]] | None = None
    _illegal_weights: Sequence[tuple[Tensor, str]] = ()

    @abstractmethod
    def state_keys(self, group: Group) -> StateKeys:
        """Return the keys that the state of each parameter of a group holds."""

    def saved_keys(self, group: Group) -> StateKeys:
        """Return the keys that it holds in a state dict."""
        return self.state_keys(group)

    @abstractmethod
    def initial_state(self, parameter: Tensor, group: Group) -> dict[str, Any]:
        """Return the state of a parameter before its first step."""

    @abstractmethod
    def checked(self, group: Group) -> Group:
        """Complete a group from `with_references`, or raise ValueError if something is illegal."""

    def admitted(self, param_group: Group, defaults: Mapping[str, Any]) -> Group:
        """Return a group to be added, with a list of steppable parameters, defaults and references, all checked."""
        given = {**param_group, "params": as_list(param_group["params"])}
        if "betas" in (settings := {**defaults, **given}):
            given["betas"] = as_pair(settings["betas"])
        require_types({**defaults, **given})
        require_steppable(given, self.steppable, type(self).__name__)
        return self.checked(with_references(given, defaults, self.update_momentum)) | unsaid_reference(param_group)

    def fit_state(self) -> None:
        """Before a step, make state fit weights that were cast, moved or exchanged since the last step.

        Raises:
            ValueError: A value of a group is not of the type in `KEY_TYPES`, no step could use the state, or a weight
                that cannot be stepped has a gradient.
        """
        # The compiler traces this check itself, and recompiles if a dtype has changed.
        if torch.compiler.is_compiling():
            if refit(self.param_groups, self.state, self.state_keys, self.initial_state, self.cuts):
                self.state_was_fitted()
            return
        self._require_types()
        seen = fingerprint(self.param_groups, self.state)
        if seen != self._seen:
            for group in self.param_groups:
                require_mode(group["low_precision"])
            require_fitting(self.param_groups, self.state, self.state_keys)
            self.cuts = self.cuts_now()
            refit(self.param_groups, self.state, self.state_keys, self.initial_state, self.cuts)
            self.state_was_fitted()
            self._illegal_weights = illegal_weights(self.param_groups, self.steppable, type(self).__name__)
            self._seen = fingerprint(self.param_groups, self.state)
        require_no_gradient(self._illegal_weights)

    def _require_types(self) -> None:
        """Check the types of values once for each combination, because checking all keys of 10³ groups would take a
        tenth of a step.

        Numbers of another form or range are refused when the decay of the step is computed.
        """
        types = [list(map(type, group.values())) for group in self.param_groups]
        if types != self._types:
            for index, group in enumerate(self.param_groups):
                require_types(group, f" of group {index}", NO_WEIGHT_CHANGED)
            self._types = types

    def cuts_now(self) -> Mapping[Tensor, Cut]:
        """Return how each sharded weight is cut over ranks."""
        parameters = (parameter for group in self.param_groups for parameter in group["params"])
        return {parameter: cut for parameter in parameters if (cut := cut_of(parameter)) is not None}

    @property
    def peers(self) -> RankGroups:
        """The process groups in which this optimizer communicates."""
        if self._peers is None:
            self._peers = RankGroups()
        return self._peers

    def agree_on_gradients(self) -> None:
        """Before a step, make sure that a sharded weight has a gradient on all of its ranks or on none."""
        if self.cuts:
            agree_on_gradients(self.cuts, self.peers)

    def state_was_fitted(self) -> None:
        """React to state that was added or removed."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state as torch does, after a check, because torch reads some values before it calls `__setstate__`.

        Raises:
            ValueError: The state has other shapes or is incomplete, or a value is illegal. Nothing has changed.
        """
        _require_types_of_state(state_dict["param_groups"])
        super().load_state_dict(state_dict)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Load what pickle stored or, through `load_state_dict`, what `state_dict` returned.

        Raises:
            ValueError: The state has other shapes or is incomplete, or a number is illegal. Nothing has changed.
        """
        defaults, built = state.get("defaults") or self.defaults, self.__dict__.get("param_groups", [])
        groups = state["param_groups"]
        unsaid = [index for index, group in enumerate(groups) if "reference_lr" not in group]
        _require_types_of_state(groups)
        for index, group in enumerate(groups):
            # Change it in place, because an optimizer that holds this one may share its groups.
            group.update(self._loaded(group, built[index] if index < len(built) else {}, defaults))
        require_fitting(groups, state["state"], self.saved_keys)
        for index, group in enumerate(groups):
            weight_decay_of_step(group, self.update_momentum, index)
        super().__setstate__(state)
        begin_references_anew(self, built, unsaid)
        # State of the same dtypes may lack something that the last one had.
        self._seen = None
        self.fit_state()
        _warn_of_lost_decay(groups, built)

    def _loaded(self, loaded: Group, built: Mapping[str, Any], defaults: Mapping[str, Any]) -> Group:
        """Return a group with the references of the state, or new ones if the state is from elsewhere."""
        if loaded.keys() >= {*saved_arguments(defaults), "reference_lr", "reference_momentum"}:
            return self.checked(loaded)
        given = as_built(loaded, built, defaults)
        return self.checked(with_references(given, {}, self.update_momentum)) | unsaid_reference(loaded)


def _require_types_of_state(groups: Sequence[Group]) -> None:
    for index, group in enumerate(groups):
        require_types(group, f" of group {index} of the state", "Load the state of the same optimizer")


def _warn_of_lost_decay(groups: Sequence[Group], built: Sequence[Group]) -> None:
    for index, (group, before) in enumerate(zip(groups, built, strict=False)):
        is_lost = group["low_precision"] == "none" != before["low_precision"]
        if is_lost and any(is_low_precision(parameter) for parameter in group["params"]):
            warnings.warn(
                f"the loaded state has low_precision='none' in group {index}, whose weights are in bfloat16 or "
                f"float16, so their decay may be lost by rounding. The group was built with "
                f"{before['low_precision']!r}; to keep that, set "
                f"optimizer.param_groups[{index}]['low_precision'] after loading",
                stacklevel=6,
            )
