"""Find the lr at which the decay of a group was chosen at its first step, and compare later ones with it."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, final

import torch
from torch import Tensor
from torch.optim import Optimizer

from steadydecay.correction.marks import OWN_REFERENCES, fixed_reference
from steadydecay.groups.settings import Group, may_move
from steadydecay.known_optimizers.update_momentum import UpdateMomentum
from steadydecay.schedules.peaks import peak_lrs

Decay = TypeVar("Decay")

# A schedule that computes its lr recursively may exceed its peak by rounding when it returns to it.
ABOVE = 1.001
# This many steps at a smaller share of the reference cannot be a warm-up.
FAR_BELOW, PATIENCE = 0.1, 1000
# Reasons why a reference may be an lr from the middle of a schedule.
LOADED, TAKEN = "a checkpoint without a correction was loaded", "steps were taken before the correction was attached"
# An attribute of optimizers of this package, which copies do not have.
ATTRIBUTE = "_decay_references"


@final
class References:
    """The references of groups with a `reference_is_fixed`. Groups whose reference the user has given do not have this
    key.

    Args:
        remedy: A sentence that says what the user can write.
        reads_tensors: Whether an lr in a CPU tensor is read.
    """

    def __init__(self, remedy: str, reads_tensors: bool = True) -> None:
        self._remedy, self._reads_tensors = remedy, reads_tensors
        self._peaks: list[float] | None = None
        self._is_asked = False
        self._settled: set[int] = set()
        # Groups whose reference is the lr that they started with, which may not be the peak, each with its number of
        # steps and the largest share of the reference so far.
        self._guessed: dict[int, tuple[int, float]] = {}
        self._has_been_above = False

    def fixed(self, optimizer: Optimizer, index: int, momentum: UpdateMomentum, given_momentum: Any = None) -> Group:
        """Return the keys that fix a group's reference at its first step; nothing later, or while a float lr is 0."""
        group = optimizer.param_groups[index]
        is_fixed = index in self._settled or group.get("reference_is_fixed", True)
        if is_fixed or not may_move(group["lr"]):
            return {}
        self._settled.add(index)
        peak = self._peak_of(optimizer, index)
        if peak is None and group.get("max_lr") is None:
            self._guessed[index] = (0, 0.0)
        return fixed_reference(group, momentum, given_momentum, peak)

    def look(self, optimizer: Optimizer) -> None:
        """Before a step, warn once about lrs above their reference, and once about lrs far below a guessed one."""
        if self._has_been_above and not self._guessed:
            return
        groups = enumerate(optimizer.param_groups)
        shares = {index: share for index, group in groups if (share := share_of_reference(group, self._reads_tensors))}
        above = [index for index, share in shares.items() if share > ABOVE]
        if above and not self._has_been_above:
            self._has_been_above = True
            how = "an lr above its reference_lr, so that it decays more than the given weight_decay says"
            self._warn(optimizer, above, f"uses {how}")
        if self._guessed:
            self._count(optimizer, shares)

    def begin_anew(self) -> None:
        """Forget everything, because groups have been loaded or added and their past is not known."""
        self._peaks, self._is_asked, self._guessed, self._settled = None, False, {}, set()

    def _count(self, optimizer: Optimizer, shares: dict[int, float]) -> None:
        for index, (steps, largest) in self._guessed.items():
            if index in shares:
                self._guessed[index] = (steps + 1, max(largest, shares[index]))
        if max(steps for steps, _ in self._guessed.values()) >= PATIENCE:
            below = [index for index, (steps, share) in self._guessed.items() if steps and share < FAR_BELOW]
            self._guessed = {}
            if below:
                how = f"has stayed below {FAR_BELOW:g} times its reference_lr"
                self._warn(
                    optimizer,
                    below,
                    f"{how} for {PATIENCE} steps, so that it decays less than the given weight_decay says",
                )

    def _peak_of(self, optimizer: Optimizer, index: int) -> float | None:
        if not self._is_asked:
            # Every scheduler of torch leaves this key. Searching for a scheduler takes a pass over all objects.
            has_scheduler = any("initial_lr" in group for group in optimizer.param_groups)
            self._peaks, self._is_asked = peak_lrs(optimizer) if has_scheduler else None, True
        # A group may have been added since then.
        peak = self._peaks[index] if self._peaks and index < len(self._peaks) else 0.0
        return peak if peak > 0 else None

    def _warn(self, optimizer: Optimizer, indices: Sequence[int], what: str) -> None:
        groups = [(index, optimizer.param_groups[index]) for index in indices]
        lrs = (f"lr {float(group['lr']):.3g}, reference_lr {float(group['reference_lr']):.3g}" for _, group in groups)
        named = ", ".join(f"group {index} ({of_group})" for index, of_group in zip(indices, lrs, strict=True))
        warnings.warn(f"{named} of {type(optimizer).__name__} {what}. {self._remedy}", stacklevel=2)


def unsaid_reference(given: Group) -> Group:
    """Return the key that marks an added group's reference as not fixed yet; nothing if the user has given one."""
    is_said = any(given.get(key) is not None for key in OWN_REFERENCES)
    return {} if is_said else {"reference_is_fixed": False}


def settled_decays(
    optimizer: Optimizer, momentum: UpdateMomentum, decay_of: Callable[[Group, int], Decay]
) -> list[Decay]:
    """Do what the correction does before a step, for an optimizer that computes the rule itself, except while
    compiling.

    Args:
        optimizer: An optimizer whose groups have `reference_is_fixed` if the user has not given their reference.
        momentum: How the momentum of all its groups is read.
        decay_of: Takes a group and its index and returns its decay. If it raises, no group has changed.

    Returns:
        The decay of each group. Their references are fixed now.
    """
    groups = optimizer.param_groups
    if torch.compiler.is_compiling():
        return [decay_of(group, index) for index, group in enumerate(groups)]
    references = _references_of(optimizer)
    changes = [_at_first_step(references, optimizer, index, momentum) for index in range(len(groups))]
    decays = [
        decay_of({**group, **change} if change else group, index)
        for index, (group, change) in enumerate(zip(groups, changes, strict=True))
    ]
    for group, change in zip(groups, changes, strict=True):
        group.update(change)
    references.look(optimizer)
    return decays


def _references_of(optimizer: Optimizer) -> References:
    references = vars(optimizer).get(ATTRIBUTE)
    if references is None:
        name = type(optimizer).__name__
        remedy = f"Construct {name} with lr=<the peak of its schedule>, or set that as reference_lr in its groups"
        references = vars(optimizer)[ATTRIBUTE] = References(remedy, reads_tensors=False)
    return references


def _at_first_step(references: References, optimizer: Optimizer, index: int, momentum: UpdateMomentum) -> Group:
    group = optimizer.param_groups[index]
    fixed = references.fixed(optimizer, index, momentum)
    if fixed and fixed["reference_lr"] == group["reference_lr"]:
        # If it was built at the peak, the momentum is the one that was chosen with the decay.
        return {} if guesses_reference(group) else {"reference_is_fixed": True}
    return fixed


def begin_references_anew(optimizer: Optimizer, before: Sequence[Group] = (), unsaid: Sequence[int] = ()) -> None:
    """Start over after a load into an optimizer that computes the rule in its own step.

    Args:
        optimizer: The optimizer with the loaded groups.
        before: Its groups before the load.
        unsaid: The indices of groups that were loaded without a reference and got one from their other keys.
    """
    vars(optimizer).pop(ATTRIBUTE, None)
    moved = []
    for index in (index for index in unsaid if index < len(before)):
        group, known = optimizer.param_groups[index], before[index]["reference_lr"]
        if guesses_reference(group) and known != group["reference_lr"]:
            group["reference_lr"] = max(known, group["reference_lr"])
            moved.append(index)
    if moved:
        warn_of_guesses(optimizer, moved, LOADED, "set it as reference_lr in the groups", stacklevel=5)


def guesses_reference(group: Group) -> bool:
    """Return whether only the present lr of a group tells where its decay was chosen."""
    return all(group.get(key) is None for key in ("max_lr", "initial_lr"))


def warn_of_guesses(optimizer: Optimizer, indices: Sequence[int], why: str, remedy: str, stacklevel: int) -> None:
    """Warn about groups whose reference is an lr that may be from the middle of a schedule."""
    lrs = ", ".join(f"{float(optimizer.param_groups[index]['reference_lr']):.3g}" for index in indices)
    warnings.warn(
        f"{why}, and no scheduler gives the peak lr. The weight_decay of the groups {list(indices)} of "
        f"{type(optimizer).__name__} is assumed to belong to the largest lr seen so far, {lrs}. If the peak of "
        f"the schedule is higher, {remedy}",
        stacklevel=stacklevel,
    )


def share_of_reference(group: Group, reads_tensors: bool) -> float:
    """Return the next step's lr divided by a reference that the user has not given; 0 if the decay does not depend on
    it.

    It is also 0 if the lr is a tensor that is not read, because reading one on an accelerator would wait for it.
    """
    lr, reference_lr = group["lr"], group.get("reference_lr")
    is_hidden = isinstance(lr, Tensor) and not (reads_tensors and lr.device.type == "cpu")
    if "reference_is_fixed" not in group or not reference_lr or is_hidden or not _follows_lr(group):
        return 0.0
    return float(lr) / reference_lr


def _follows_lr(group: Group) -> bool:
    if group.get("steady_norm_sq") is not None:
        return True
    is_replaced = "decay_replacement" in group
    rule = group.get("replaced_decay", "constant") if is_replaced else group["decay"]
    key = "replaced_weight_decay" if is_replaced else "reference_weight_decay"
    decay = group.get(key, group["weight_decay"])
    return rule != "constant" and (isinstance(decay, Tensor) or decay > 0)
