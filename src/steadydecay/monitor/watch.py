"""Measure what any torch optimizer does to its weights."""

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Self, final

import torch
from torch.optim import Optimizer

from steadydecay.known_optimizers.unseen_steps import UnseenSteps
from steadydecay.known_optimizers.wrappers import followed
from steadydecay.monitor.chosen import Patterns, chosen_names
from steadydecay.monitor.chunks import Scratch
from steadydecay.monitor.first_fault import warn_of_first_fault, with_first_fault
from steadydecay.monitor.numbers import MEASURES
from steadydecay.monitor.readings import Record, record_of
from steadydecay.monitor.watched_optimizer import NO_STATE, Measurement, State, WatchedOptimizer

NOTHING: Record = {"layers": {}, "groups": {}, "verdicts": {}}


def watch(optimizer: Optimizer, every: int = 1) -> "Watch":
    """Measure norms, updates and their distance from theory at every k-th step of an optimizer.

    A measured step needs one copy of the weights while it runs and one until the next. No step waits for the device;
    `metrics()` does, once. docs/monitor.md explains the measures and the theory behind them.

    Args:
        optimizer: Any torch optimizer, one that shares the groups of several that it holds, or a wrapper that holds one
            under any name (SAM, Lookahead, Accelerate, fairseq, DeepSpeed). Layers are named by the groups'
            `param_names` (which `sd.param_groups` and named parameters set), or else "group_<index>.<position>".
        every: k, 1 or more. Steps k, 2k, ... are measured, and also the one after `measure_next_step()`.

    Returns:
        A handle whose `remove()` detaches it; it is also a context manager. Under torch.distributed every rank must
        watch, because sharded weights (FSDP2) are summed over ranks as part of a measured step. Any rank may read.

    Raises:
        TypeError: `optimizer` is neither an optimizer nor an object that holds one.
        ValueError: `every` is below 1, or `optimizer` holds several and has no step that could be followed.
    """
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise ValueError(f"every is {every!r}; it must be a whole number of steps between measurements, 1 or more")
    real, *wrappers = followed(optimizer)
    return Watch(real, every, wrappers)


@final
class Watch:
    """The handle that `watch` returns. It works through hooks of the optimizer's step until `remove`."""

    def __init__(self, optimizer: Optimizer, every: int, wrappers: Sequence[Optimizer] = ()) -> None:
        self._optimizer, self._every, self._wrappers = optimizer, every, wrappers
        self._steps, self._measured_step = 0, 0
        self._scratch = Scratch()
        # This may include groups and layers that do not exist yet: a checkpoint may be loaded before a group is added.
        self._saved: State = NO_STATE
        self._watched = WatchedOptimizer(optimizer, self._saved, self._scratch)
        if optimizer.state:
            # Some steps have been taken, so the peak may be in the past.
            self._watched.find_peaks(optimizer)
        self._warn_of_what_is_unknown()
        self._is_next_measured = self._is_removed = False
        # For the current step: whether it is measured (None between steps), and whether its gradients are computed
        # within it.
        self._is_measuring: bool | None = None
        self._has_closure = False
        self._measured: Measurement | None = None
        self._record: Record = NOTHING
        # Hooks stay outside the graph of a compiled step, because they branch on the count of steps.
        before: Any = torch.compiler.disable(self._before_step)
        after: Any = torch.compiler.disable(self._after_step)
        self._unseen = UnseenSteps(optimizer, "steadydecay.watch")
        self._hooks = [
            hook
            for one in (optimizer, *wrappers)
            for hook in (one.register_step_pre_hook(before), one.register_step_post_hook(after))
        ]

    def metrics(self, layers: Patterns = None, measures: Patterns = None, groups: Patterns = None) -> dict[str, float]:
        """Return the last measured step: {"layer/<name>/<measure>": ..., "group/<role or name>/<measure>": ...}.

        It is empty before the first measured step. Unavailable measures are omitted, for example without momentum, or
        without a decay from which a norm could be predicted.

        Args:
            layers: A pattern of layer names (`fnmatch`), or several, such as "*.attn.*" or ["h.0.*", "h.11.*"]. None
                selects every layer, and () none.
            measures: Patterns of measures, such as "norm_ratio*" or ["weight_norm", "drift"].
            groups: Patterns of group names.

        Raises:
            ValueError: A pattern matches nothing.
            TypeError: The patterns are of another type.
        """
        record, watched = self.record(), self._watched
        of_layers = chosen_names({*watched.layer_names(), *record["layers"]}, layers, "layers")
        of_groups = chosen_names({*watched.group_names(), *record["groups"]}, groups, "groups")
        wanted = chosen_names(MEASURES, measures, "measures")
        chosen = {f"layer/{name}/": found for name, found in record["layers"].items() if name in of_layers}
        chosen |= {f"group/{name}/": found for name, found in record["groups"].items() if name in of_groups}
        return {
            prefix + measure: value
            for prefix, found in chosen.items()
            for measure, value in found.items()
            if measure in wanted
        }

    def record(self) -> Record:
        """Return the same, nested: {"layers": {name: {measure: ...}}, "groups": {...}, "verdicts": {name: ...}}.

        Once a NaN or an infinity has been read, there is also "not_finite" with the first "step", "layer" and "measure"
        that had one, and a warning is given once.
        """
        if self._measured is not None:
            before, self._measured, measured = self._record, None, self._measured
            self._record = with_first_fault(record_of(measured), before, self._measured_step)
            warn_of_first_fault(self._record, before, stacklevel=3)
        return self._record

    def verdicts(self) -> dict[str, str]:
        """Return the verdict on each layer at the last measured step, one of `steadydecay.monitor.verdict.Verdict`."""
        return self.record()["verdicts"]

    @property
    def measured_step(self) -> int:
        """The step that was measured last, counted from 1 since `watch` was called; 0 before the first."""
        return self._measured_step

    def measure_next_step(self) -> None:
        """Measure the next step, whatever its number."""
        self._is_next_measured = True

    def remove(self) -> None:
        """Detach the hooks and free the memory. The last measurement can still be read. It may be called again."""
        self._is_removed = True
        self._unseen.stop()
        for hook in self._hooks:
            hook.remove()
        self._saved, self._scratch = self._state(), Scratch()
        self._watched.forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a watch of the copy of its optimizer, with everything measured so far; torch does not copy hooks."""
        optimizer, wrappers = copy.deepcopy(self._optimizer, memo), copy.deepcopy(self._wrappers, memo)
        copied = object.__new__(type(self))
        memo[id(self)] = copied
        with warnings.catch_warnings():
            # The warnings have already been given for this watch.
            warnings.simplefilter("ignore")
            copied.__init__(optimizer, self._every, wrappers)
        copied.load_state_dict(copy.deepcopy(self.state_dict()))
        copied._is_next_measured = self._is_next_measured
        if self._is_removed:
            copied.remove()
        return copied

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs to measure as an uninterrupted one would, as tensors and plain values."""
        return {
            "steps": self._steps,
            "measured_step": self._measured_step,
            **self._state(),
            "record": self.record(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load what `state_dict` returned, from any device. Layers are matched by name.

        Raises:
            ValueError: The state was saved by another version. Nothing has changed.
        """
        missing = [name for name in ("steps", "measured_step", "record", *NO_STATE) if name not in state]
        if missing:
            remedy = "do not load it: the watch then starts anew, and only its trends are lost"
            raise ValueError(f"state lacks {', '.join(missing)}, so another version of steadydecay saved it; {remedy}")
        self._steps, self._measured_step = state["steps"], state["measured_step"]
        self._record, self._measured = state["record"], None
        self._begin_anew({kind: dict(state[kind]) for kind in NO_STATE})

    def _state(self) -> State:
        now = self._watched.state()
        return {kind: self._saved[kind] | now[kind] for kind in NO_STATE}

    def _begin_anew(self, state: State) -> None:
        self._saved = state
        self._watched = WatchedOptimizer(self._optimizer, state, self._scratch)

    def _before_step(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._unseen.stop()
        if not self._watched.is_of(self._optimizer):
            self._begin_anew(self._state())
        self._is_measuring = self._is_next_measured or (self._steps + 1) % self._every == 0
        # A closure computes the gradients within the step, and a hook may remove them after it.
        # The first argument is the optimizer itself.
        self._has_closure = any(argument is not None for argument in (*args[1:], kwargs.get("closure")))
        if not self._has_closure:
            self._watched.look_for_gradients()
        if self._is_measuring:
            self._watched.remember_weights()

    def _after_step(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # Clear it first, because a subclass that calls super().step() runs the hooks twice.
        is_measuring, self._is_measuring = self._is_measuring, None
        if is_measuring is None:
            return
        self._steps += 1
        if self._has_closure:
            self._watched.look_for_gradients()
        self._watched.take_step()
        if is_measuring:
            self._is_next_measured = False
            self._measured, self._measured_step = self._watched.measure(), self._steps

    def _warn_of_what_is_unknown(self) -> None:
        name = type(self._optimizer).__name__
        if unpredictable := self._watched.unpredictable():
            warnings.warn(
                f"{'; '.join(sorted(set(unpredictable.values())))}, so the norms of {name}'s groups "
                f"{list(unpredictable)} are measured but not predicted. steadydecay.register_optimizer makes an "
                f"optimizer known",
                stacklevel=4,
            )
        if unknown := self._watched.with_unknown_decay():
            warnings.warn(
                f"the weight_decay of {name}'s groups {unknown} does not act as θ ← (1-lr·weight_decay)θ, so their "
                f"measured updates include it and no norm is predicted. Use decoupled decay (AdamW) to have both",
                stacklevel=4,
            )
