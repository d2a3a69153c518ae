"""Weight decay that follows the schedule, for any torch optimizer whose decay is decoupled."""

import copy
import warnings
from collections.abc import Sequence
from typing import Any, Self, final

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

from steadydecay.correction.cautious import be_cautious, remembered_weights
from steadydecay.correction.hyperball import hold_norms, norms_to_hold
from steadydecay.correction.legal_load import require_legal_load
from steadydecay.correction.marks import (
    is_marked,
    reference_marks,
    replaced_weight_decay,
    replacement_marks,
    rule_of,
    unmark,
    write_weight_decay,
)
from steadydecay.correction.overwritten import WrittenDecays
from steadydecay.correction.references import LOADED, TAKEN, References, guesses_reference, warn_of_guesses
from steadydecay.correction.rules import HYPERBALL, Rule, chosen_rule
from steadydecay.groups.key_types import require_number
from steadydecay.groups.selection import Where, selected_groups, warn_without_roles
from steadydecay.groups.settings import (
    Group,
    require_adam_numbers,
    require_numbers,
    weight_decay_of_step,
    with_references,
)
from steadydecay.known_optimizers.decay_action import require_decoupled, require_no_average
from steadydecay.known_optimizers.table import known_optimizer, why_momentum_is_unknown
from steadydecay.known_optimizers.unseen_steps import UnseenSteps
from steadydecay.known_optimizers.update_momentum import NO_MOMENTUM, UpdateMomentum
from steadydecay.known_optimizers.wrappers import followed
from steadydecay.theory.validation import require_in

# Marks an attached handle. A pickle or a deep copy loses it with the hooks, while its groups keep their keys.
ATTRIBUTE = "_weight_decay_correction"


def correct_weight_decay(
    optimizer: Optimizer, rule: Rule = "corrected", where: Where = None, reference_lr: float | None = None
) -> "WeightDecayCorrection":
    """Make the weight decay of an optimizer follow its schedule, so that weight norms stay (arXiv 2512.08217, Eq. 4).

    Before each step `group["weight_decay"]` is set to λ_t. It is computed from references that are keys of the group
    and are saved in its state dict: `reference_lr`, `reference_momentum`, `reference_weight_decay` (the λ that was
    there) and the rule, `decay`. A float stays a float, and a tensor is filled in place without waiting for the device.
    Optimizers of this package compute the same in `step`; for them this function sets `decay`.

    The reference lr of a group is the learning rate for which its λ was chosen, the peak of the schedule. The first of
    these that exists is used: `reference_lr`, here or in the group; the group's `max_lr` (OneCycleLR); the peak that
    torch's schedulers reach when copies of them are run ahead; the group's `initial_lr` (any other scheduler); its
    present lr. The reference is fixed at the first step with an lr other than 0, so schedulers may be created before or
    after this call. The momentum counts at the same peak (`base_momentum` of OneCycleLR). If you have not given a
    reference, a warning says what to write when an lr exceeds it, and another when the lr stays far below a guessed
    one. A group from a checkpoint or a copy keeps its own correction, whatever the arguments of this call.

    Args:
        optimizer: Any optimizer with decoupled decay, or a wrapper that holds one under any name (SAM, Lookahead,
            Accelerate, fairseq, DeepSpeed). The momentum of optimizers in `steadydecay.known_optimizers` is taken into
            account. For others a warning says that it is assumed constant; `sd.register_optimizer` makes one known.
        rule: "corrected" (λ ∝ γ_eff²/γ, for γλ ≪ 1-β), "exact" or "constant". Two rules replace the decay: "cautious"
            decays only where that does not oppose the update (arXiv 2510.12402), and "hyperball" has no decay but
            projects each matrix to its first Frobenius norm, or to those in the group's `hyperball_norms`, after each
            step (arXiv 2606.16899). The pair ("corrected", "cautious") does both: λ_t follows the schedule and acts
            where it does not oppose the update.
        where: The groups to correct: a group index, a role, several of either, or a predicate of a group. None stands
            for every group except those with role "output", with a warning if no group has a role; a group's own
            `decay` then takes precedence.
        reference_lr: The learning rate γ > 0 at which weight_decay was chosen, for all selected groups.

    Returns:
        A handle, which is also a context manager. Its `remove()` restores weight_decay and deletes the added keys.

    Raises:
        ValueError: The rule is unknown, nothing is selected, a hyperparameter is out of range, the decay is L2 instead
            of decoupled, the optimizer corrects its decay itself or is schedule-free, a correction is attached already,
            or a wrapper of several optimizers has no step that could be followed. Nothing has changed.
        TypeError: `optimizer` or `where` is of another type.
    """
    require_no_average(optimizer)
    optimizer, *wrappers = followed(optimizer)
    if getattr(optimizer, ATTRIBUTE, None) is not None:
        raise ValueError(
            f"optimizer is a {type(optimizer).__name__} and already has a correction; call remove() on its handle first"
        )
    chosen_rule(rule)
    if reference_lr is not None:
        require_number("reference_lr", reference_lr)
        require_in("reference_lr", reference_lr, 0, remedy="pass the lr at which weight_decay was chosen, the peak")
    return WeightDecayCorrection(optimizer, rule, where, reference_lr, wrappers)


@final
class WeightDecayCorrection:
    """The handle that `correct_weight_decay` returns. It works through hooks of the optimizer's step until `remove`."""

    def __init__(
        self,
        optimizer: Optimizer,
        rule: Rule,
        where: Where,
        reference_lr: float | None,
        wrappers: Sequence[Optimizer] = (),
    ) -> None:
        self._optimizer, self._rule, self._where = optimizer, chosen_rule(rule), where
        self._given = rule, where, reference_lr
        self._wrappers = wrappers
        self._reference_lr = None if reference_lr is None else float(reference_lr)
        # The optimizer's own step computes the rule, and this handle only names it.
        self._is_in_step = is_own(optimizer) and not self._rule.replacement
        remedy = "reference_lr=<the peak of its schedule>), or set reference_lr in each group"
        self._references = References(f"Write steadydecay.correct_weight_decay(optimizer, {remedy}")
        self._written = WrittenDecays()
        self._known_groups: list[Group] = []
        self._values_before: dict[int, Group] = {}
        # For the current step: the weights before it, and λ of groups whose decay is replaced, by index.
        self._remembered: dict[Tensor, Tensor] = {}
        self._replaced: dict[int, float | Tensor] = {}
        self._norms_seen: dict[int, Any] = {}
        self._selected = selected_groups(optimizer.param_groups, where)
        if not any(map(is_marked, optimizer.param_groups)):
            marks = self._marks(self._selected)
            self._warn()
            self._write(marks)
            if any(optimizer.state.values()) and not is_own(optimizer):
                self._warn_of_guesses(self._selected, TAKEN, stacklevel=5)
        else:
            require_legal_load(optimizer)
            self._warn_of_what_the_groups_brought(stacklevel=4)
        self._known_groups = list(optimizer.param_groups)
        # Hooks stay outside the graph of a compiled step, which would recompile for the float λ of each step.
        before: Any = torch.compiler.disable(self._before_step)
        after: Any = torch.compiler.disable(self._after_step)
        self._hooks = [
            hook
            for one in (optimizer, *wrappers)
            for hook in (one.register_step_pre_hook(before), one.register_step_post_hook(after))
        ]
        self._hooks.append(optimizer.register_load_state_dict_post_hook(lambda _: self._take_in_groups()))
        self._unseen = UnseenSteps(optimizer, "steadydecay.correct_weight_decay")
        setattr(optimizer, ATTRIBUTE, self)

    def remove(self) -> None:
        """Restore every weight_decay, delete the added keys, and detach. A second call does nothing."""
        if getattr(self._optimizer, ATTRIBUTE, None) is not self:
            return
        self._unseen.stop()
        for hook in self._hooks:
            hook.remove()
        delattr(self._optimizer, ATTRIBUTE)
        for index, group in enumerate(self._optimizer.param_groups):
            values_before = self._values_before.get(index, {})
            if self._is_in_step:
                group.update(values_before)
            if is_marked(group):
                unmark(group, {} if self._is_in_step else values_before, is_own(self._optimizer))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a handle for the copy of its optimizer, which continues from what the copied groups hold.

        torch copies an optimizer without its hooks, so a copy of the optimizer alone keeps the last weight_decay.
        """
        optimizer, wrappers = copy.deepcopy(self._optimizer, memo), copy.deepcopy(self._wrappers, memo)
        copied = object.__new__(type(self))
        memo[id(self)] = copied
        if getattr(self._optimizer, ATTRIBUTE, None) is self:
            rule, where, reference_lr = self._given
            copied.__init__(optimizer, rule, where, reference_lr, wrappers)
            copied._values_before = copy.deepcopy(self._values_before, memo)
        else:
            copied._optimizer, copied._hooks = optimizer, []
        return copied

    def _marks(self, selected: Sequence[int]) -> dict[int, Group]:
        """Return the keys that each selected group gets; all are checked before any is written."""
        return {index: self._marks_of(self._optimizer.param_groups[index], index) for index in selected}

    def _write(self, marks: dict[int, Group]) -> None:
        for index, changes in marks.items():
            group = self._optimizer.param_groups[index]
            kept = (*changes, "reference_is_fixed")
            self._values_before[index] = {key: group[key] for key in kept if key in group}
            if "decay_replacement" in changes:
                write_weight_decay(group, 0.0)
            group.update(changes)
            if not self._is_in_step:
                self._written.note(index, group)
            if self._reference_lr is not None:
                # The user has given the reference, so nothing is left to find or to warn about.
                group.pop("reference_is_fixed", None)

    def _marks_of(self, group: Group, index: int) -> Group:
        rule = self._rule
        if self._is_in_step:
            given = {} if self._reference_lr is None else {"reference_lr": self._reference_lr}
            with_references({**group, **given, "decay": rule.decay}, {}, self._momentum_of(group))
            return {**given, "decay": rule.decay}
        if self._where is None and not is_own(self._optimizer) and "decay" in group:
            rule = chosen_rule(group["decay"])
        require_decoupled(self._optimizer, group, index)
        name = f"group {index} of {type(self._optimizer).__name__}"
        given_lr = self._reference_lr if self._reference_lr is not None else group.get("reference_lr")
        momentum = self._known_momentum(group)
        # The lr of a checkpoint without a correction may be from the middle of a schedule.
        floor = self._known_groups[index].get("reference_lr", 0.0) if index < len(self._known_groups) else 0.0
        if rule.replacement:
            marks = replacement_marks(group, rule, given_lr, momentum, name, floor)
        else:
            marks = reference_marks(group, rule.decay, given_lr, momentum, name, floor)
        # In our own optimizers the reference may still have to be found.
        is_unsaid = "reference_is_fixed" in group and "reference_lr" in marks
        return marks | ({"reference_is_fixed": group["reference_is_fixed"]} if is_unsaid else {})

    def _warn(self) -> None:
        groups = self._optimizer.param_groups
        if self._where is None:
            warn_without_roles(groups, self._selected, stacklevel=5)
        unknown = next((index for index in self._selected if self._known_momentum(groups[index]) is None), None)
        if unknown is not None and not is_own(self._optimizer) and self._rule.decay != "constant":
            why = why_momentum_is_unknown(self._optimizer, groups[unknown])
            warnings.warn(
                f"{why}, so its momentum is assumed constant and only the lr changes its weight decay. If its momentum "
                f"changes, register the optimizer with steadydecay.register_optimizer",
                stacklevel=4,
            )

    def _warn_of_guesses(self, indices: Sequence[int], why: str, stacklevel: int) -> None:
        groups = self._optimizer.param_groups
        guessed = [i for i in indices if "reference_is_fixed" in groups[i] and guesses_reference(groups[i])]
        if guessed:
            remedy = "pass it: steadydecay.correct_weight_decay(optimizer, reference_lr=<that peak>)"
            warn_of_guesses(self._optimizer, guessed, why, remedy, stacklevel)

    def _warn_of_what_the_groups_brought(self, stacklevel: int) -> None:
        groups = self._optimizer.param_groups
        marked = [groups[index] for index in self._selected] if self._is_in_step else list(filter(is_marked, groups))
        rules, lrs = set(map(rule_of, marked)), {group.get("reference_lr") for group in marked}
        has_other_rule = self._rule.replacement not in {group.get("decay_replacement", "") for group in marked}
        has_other_rule |= not self._rule.replacement and self._rule.decay not in rules
        if has_other_rule or (self._reference_lr is not None and self._reference_lr not in lrs):
            warnings.warn(
                f"the groups keep the correction that they carry from a checkpoint or a copy, with rule {rules} and "
                f"reference_lr {lrs}. To change it, call remove() on this handle and attach it again",
                stacklevel=stacklevel,
            )

    def _known_momentum(self, group: Group) -> UpdateMomentum | None:
        known = known_optimizer(self._optimizer, group)
        return None if known is None else known.momentum

    def _momentum_of(self, group: Group) -> UpdateMomentum:
        is_assumed = group.get("momentum_is_assumed", False)
        return NO_MOMENTUM if is_assumed else self._known_momentum(group) or NO_MOMENTUM

    def _take_in_groups(self) -> None:
        """Let loaded groups keep their correction, and give one to groups that were added or loaded without one."""
        groups, known = self._optimizer.param_groups, self._known_groups
        is_as_before = len(groups) == len(known) and all(a is b for a, b in zip(groups, known, strict=True))
        if is_as_before:
            return
        require_legal_load(self._optimizer)
        self._written.begin_anew()
        known_ids = {id(group) for group in known}
        unknown = [index for index, group in enumerate(groups) if id(group) not in known_ids]
        is_loaded = any(index < len(known) for index in unknown)
        if is_loaded:
            self._references.begin_anew()
        if self._is_in_step or any(is_marked(groups[index]) for index in unknown):
            if is_loaded:
                self._warn_of_what_the_groups_brought(stacklevel=2)
        else:
            # Match groups by index if they existed before: a checkpoint without a correction may have no roles either.
            of_added = [index for index in selected_or_none(groups, self._where) if index >= len(known)]
            selected = [*self._selected, *of_added]
            marks = self._marks([index for index in selected if index in unknown])
            loaded = [index for index in marks if index < len(known)]
            moved = [index for index in loaded if groups[index]["lr"] != known[index].get("reference_lr")]
            self._write(marks)
            self._warn_of_guesses(moved, LOADED, stacklevel=2)
            self._selected = selected
        self._known_groups = list(groups)

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._unseen.stop()
        self._take_in_groups()
        for index, group in enumerate(optimizer.param_groups):
            require_numbers(group, index)
            if isinstance(self._optimizer, Adam):
                require_adam_numbers(group, index)
        # All are computed before any is written: an illegal late group must not leave earlier groups changed.
        changes = {
            index: self._of_step(index) for index, group in enumerate(self._optimizer.param_groups) if is_marked(group)
        }
        self._written.look(self._optimizer.param_groups)
        for index, (fixed, weight_decay) in changes.items():
            group = self._optimizer.param_groups[index]
            group.update(fixed)
            is_replaced = "decay_replacement" in group
            if is_replaced:
                self._replaced[index] = weight_decay
            # Anything other than 0 here would decay in addition to what replaces the decay.
            write_weight_decay(group, 0.0 if is_replaced else weight_decay)
            self._written.note(index, group)
        if not self._is_in_step:
            self._references.look(self._optimizer)
        self._remembered = remembered_weights(self._optimizer.param_groups)

    def _of_step(self, index: int) -> tuple[Group, float | Tensor]:
        """Return the keys that fix the references of a marked group, and λ of the current step."""
        group = self._optimizer.param_groups[index]
        is_replaced = "decay_replacement" in group
        if group.get("decay_replacement") == HYPERBALL:
            self._require_norms(group, index)
        if is_replaced and "replaced_decay" not in group:
            return {}, replaced_weight_decay(group, NO_MOMENTUM, index)
        momentum = self._momentum_of(group)
        given_momentum = self._values_before.get(index, {}).get("reference_momentum")
        fixed = self._references.fixed(self._optimizer, index, momentum, given_momentum)
        of_step = replaced_weight_decay if is_replaced else weight_decay_of_step
        return fixed, of_step({**group, **fixed}, momentum, index)

    def _require_norms(self, group: Group, index: int) -> None:
        """Check the norms once for each list, because it may be long."""
        norms = group.get("hyperball_norms")
        if norms is None or norms is not self._norms_seen.get(index):
            norms_to_hold({**group, "hyperball_norms": () if norms is None else norms}, f"group {index}")
            self._norms_seen[index] = norms

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        # Clear these first, because a subclass that calls super().step() runs the hooks twice.
        remembered, self._remembered = self._remembered, {}
        found_inf = getattr(optimizer, "found_inf", None)
        groups = self._optimizer.param_groups
        replaced = [(groups[index], weight_decay) for index, weight_decay in self._replaced.items()]
        hold_norms([group for group, _ in replaced if group["decay_replacement"] == HYPERBALL], found_inf)
        be_cautious([pair for pair in replaced if pair[0]["decay_replacement"] != HYPERBALL], remembered, found_inf)
        self._replaced = {}


def is_own(optimizer: Optimizer) -> bool:
    """Return whether the optimizer is from this package and computes the rule in its own step."""
    is_ours = any(parent.__module__.partition(".")[0] == "steadydecay" for parent in type(optimizer).__mro__)
    return is_ours and all("decay" in group for group in optimizer.param_groups)


def selected_or_none(groups: Sequence[Group], where: Where) -> list[int]:
    """Return `selected_groups`, or nothing if it would raise, because a matching group may be added later."""
    try:
        return selected_groups(groups, where)
    except ValueError:
        return []
