"""Optimizers whose state is there from construction on, and fits their weights whenever a step runs."""

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
    require_dtypes,
    require_no_gradient,
    require_own_entries,
)
from steadydecay.parallel.cuts import Cut, cut_of
from steadydecay.parallel.presence import agree_on_gradients
from steadydecay.parallel.rank_groups import RankGroups
from steadydecay.tensors.low_precision import is_low_precision, require_mode


def as_built(loaded: Mapping[str, Any], built: Mapping[str, Any], defaults: Mapping[str, Any]) -> Group:
    """A group of a state dict; what it does not say of the constructor's arguments and the role is as it was built."""
    kept = {key: built[key] for key in (*defaults, "role") if key in built}
    return {**defaults, **kept, **loaded}


class StatefulOptimizer(torch.optim.Optimizer):
    """What keeps state and weights together; a subclass says what its state is.

    Attributes:
        update_momentum: where the groups have their momentum.
        steppable: dtypes of weights that can be stepped.
    """

    update_momentum: ClassVar[UpdateMomentum]
    steppable: ClassVar[tuple[torch.dtype, ...]] = REAL_AND_COMPLEX
    # Which weights are cut over ranks. None of these is pickled, so that a copy looks for itself.
    cuts: Mapping[Tensor, Cut] = MappingProxyType({})
    _peers: RankGroups | None = None
    # What was there at the last look.
    _seen: list[Any] | None = None
    _types: list[list[type]] | None = None
    _illegal_weights: Sequence[tuple[Tensor, str]] = ()

    @abstractmethod
    def state_keys(self, group: Group) -> StateKeys:
        """What the state of each parameter of a group holds."""

    def saved_keys(self, group: Group) -> StateKeys:
        """What it holds in a state dict."""
        return self.state_keys(group)

    @abstractmethod
    def initial_state(self, parameter: Tensor, group: Group) -> dict[str, Any]:
        """The state of a parameter before its first step."""

    @abstractmethod
    def checked(self, group: Group) -> Group:
        """The group of `with_references`, with what is still to be chosen; a ValueError if something is illegal."""

    def admitted(self, param_group: Group, defaults: Mapping[str, Any]) -> Group:
        """A group as it is added: a list of parameters that can be stepped, defaults and references, all checked."""
        given = {**param_group, "params": as_list(param_group["params"])}
        if "betas" in (settings := {**defaults, **given}):
            given["betas"] = as_pair(settings["betas"])
        require_types({**defaults, **given})
        require_dtypes(given, self.steppable, type(self).__name__)
        require_own_entries(given, type(self).__name__)
        return self.checked(with_references(given, defaults, self.update_momentum)) | unsaid_reference(param_group)

    def fit_state(self) -> None:
        """Before a step: make state fit weights that were cast, moved or exchanged since the last one.

        Raises:
            ValueError: a value of a group that is none of `KEY_TYPES`, state that no step could use, or a gradient of a
                weight that cannot be stepped.
        """
        # The compiler follows the look itself, and traces anew where a dtype has changed.
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
        """A look at all keys of 10³ groups would take a tenth of their step; the types of their values tell enough.

        Numbers of another form or range are refused where the decay of the step is asked for.
        """
        types = [list(map(type, group.values())) for group in self.param_groups]
        if types != self._types:
            for index, group in enumerate(self.param_groups):
                require_types(group, f" of group {index}", NO_WEIGHT_CHANGED)
            self._types = types

    def cuts_now(self) -> Mapping[Tensor, Cut]:
        """How each weight that is cut over ranks is cut."""
        parameters = (parameter for group in self.param_groups for parameter in group["params"])
        return {parameter: cut for parameter in parameters if (cut := cut_of(parameter)) is not None}

    @property
    def peers(self) -> RankGroups:
        """The process groups in which this optimizer speaks."""
        if self._peers is None:
            self._peers = RankGroups()
        return self._peers

    def agree_on_gradients(self) -> None:
        """Before a step: a weight that is cut has a gradient on all of its ranks or on none."""
        if self.cuts:
            agree_on_gradients(self.cuts, self.peers)

    def state_was_fitted(self) -> None:
        """State has come or gone."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch's, which reads some values of the groups before it calls `__setstate__`.

        Raises:
            ValueError: state of other shapes or lacking some, or illegal values. Nothing has changed then.
        """
        _require_types_of_state(state_dict["param_groups"])
        super().load_state_dict(state_dict)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what pickle or, through `load_state_dict`, `state_dict` gave.

        Raises:
            ValueError: state of other shapes or lacking some, or illegal numbers. Nothing has changed then.
        """
        defaults, built = state.get("defaults") or self.defaults, self.__dict__.get("param_groups", [])
        groups = state["param_groups"]
        unsaid = [index for index, group in enumerate(groups) if "reference_lr" not in group]
        _require_types_of_state(groups)
        for index, group in enumerate(groups):
            # In place, for an optimizer that holds this one may share its groups.
            group.update(self._loaded(group, built[index] if index < len(built) else {}, defaults))
        require_fitting(groups, state["state"], self.saved_keys)
        for index, group in enumerate(groups):
            weight_decay_of_step(group, self.update_momentum, index)
        super().__setstate__(state)
        begin_references_anew(self, built, unsaid)
        # State of the same dtypes may lack what the last one had.
        self._seen = None
        self.fit_state()
        _warn_of_lost_decay(groups, built)

    def _loaded(self, loaded: Group, built: Mapping[str, Any], defaults: Mapping[str, Any]) -> Group:
        """Its references are those of the state; where it is of another version or optimizer, they are found anew."""
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
                f"the state that was loaded has low_precision='none' in group {index}, whose weights are in bfloat16 "
                f"or float16: their decay may round away. The group was built with {before['low_precision']!r}; to "
                f"keep that, set optimizer.param_groups[{index}]['low_precision'] after loading",
                stacklevel=6,
            )
