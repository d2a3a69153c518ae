"""Find the peak of a schedule before it is reached, by running copies of torch's schedulers ahead."""

import gc
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    CyclicLR,
    LambdaLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
)

from steadydecay.groups.settings import Group
from steadydecay.known_optimizers.wrappers import held_optimizers
from steadydecay.schedules.alike_groups import leave_one_of_each_kind
from steadydecay.schedules.sandbox import Copier, OutOfReachError, untouched_generators
from steadydecay.schedules.shape_scheduler import ShapeScheduler

# The number of first steps that are all asked. Later ones are asked at growing distances if they can be out of order.
EACH_STEP, LAST_STEP, STRIDE = 1024, 10**6, 1.01
# The number of steps for which a schedule is followed that can only be asked in order.
IN_TURN = 10_000
# At a step this many times as late, a schedule has passed its peak.
PAST_PEAK = 8
CALLED_OUT_OF_TURN = (LambdaLR.get_lr, OneCycleLR.get_lr, CyclicLR.get_lr)


class Asked(NamedTuple):
    """The lrs of each group at some steps of a schedule.

    Attributes:
        lrs: The lrs of each group, in the order of the steps.
        has_end: Whether the schedule itself ends after these steps, so that a rise up to its end peaks there.
    """

    lrs: list[list[float]]
    has_end: bool


def peak_lrs(optimizer: Optimizer) -> list[float] | None:
    """Return the largest lr of each group's schedule, in the order of the groups, or None if no scheduler can tell.

    Every torch scheduler of the optimizer, and of wrappers around it, is asked on a copy. Neither it nor the optimizer
    nor torch's warnings change. The result is known if all agree and the lr does not rise for ever.
    """
    found = [one for one in schedulers_of(optimizer) if not isinstance(one, ReduceLROnPlateau)]
    peaks = [peaks for one in found if (peaks := peaks_of(one, optimizer)) is not None]
    if not found or len(peaks) < len(found):
        return None
    is_agreed = all(math.isclose(a, b, rel_tol=1e-6) for other in peaks for a, b in zip(peaks[0], other, strict=True))
    return peaks[0] if is_agreed else None


def schedulers_of(optimizer: Optimizer) -> list[LRScheduler]:
    """Return the schedulers that hold an optimizer or a wrapper of it, except those that another scheduler steps.

    The optimizer does not know them, but the garbage collector does. This takes a pass over all objects.
    """
    found: dict[int, LRScheduler] = {}
    optimizers: dict[int, Optimizer] = {}
    to_ask = [optimizer]
    while to_ask:
        one = to_ask.pop()
        optimizers[id(one)] = one
        for holder in _holders(one):
            if isinstance(holder, LRScheduler):
                found[id(holder)] = holder
            elif id(holder) not in optimizers:
                to_ask.append(holder)
    stepped = {id(part) for scheduler in found.values() for part in _held_schedulers(scheduler)}
    return [scheduler for key, scheduler in found.items() if key not in stepped]


def peaks_of(scheduler: LRScheduler, optimizer: Optimizer) -> list[float] | None:
    """Return the largest past or future lr of each group under one scheduler, or None if it cannot tell.

    Args:
        scheduler: A scheduler of `optimizer`, or of a wrapper of it.
        optimizer: The optimizer with the groups.
    """
    try:
        # A schedule may warn about its future steps.
        with warnings.catch_warnings(), untouched_generators():
            warnings.simplefilter("ignore")
            stand_in = _stand_in(optimizer)
            twin = Copier(stand_in).copied(scheduler)
            places = leave_one_of_each_kind(stand_in.param_groups, list(_parts(twin)))
            peaks = _peaks_out_of_turn(twin) if is_asked_out_of_turn(twin) else _peaks_in_turn(twin)
    except Exception:
        # A foreign scheduler may fail for any reason. A warning follows when the lr shows that the peak was wrong.
        return None
    starts = [float(group.get("initial_lr", group["lr"])) for group in optimizer.param_groups]
    if peaks is None or len(peaks) != len(set(places)):
        return None
    peaks = [peaks[place] for place in places]
    # Return the initial lr bit for bit if only rounding separates the two.
    return [
        start if math.isclose(peak, start, rel_tol=1e-9) else peak for peak, start in zip(peaks, starts, strict=True)
    ]


def is_asked_out_of_turn(scheduler: LRScheduler) -> bool:
    """Return whether the lr at a step depends only on the number of the step."""
    if isinstance(scheduler, SequentialLR):
        return all(map(is_asked_out_of_turn, scheduler._schedulers))
    if type(scheduler).step not in (LRScheduler.step, ShapeScheduler.step):
        return False
    has_closed_form = hasattr(scheduler, "_get_closed_form_lr")
    return has_closed_form or isinstance(scheduler, ShapeScheduler) or type(scheduler).get_lr in CALLED_OUT_OF_TURN


def settled_peaks(asked: Asked) -> list[float] | None:
    """Return the largest lr of each group, or None if one lr rises for ever, so that its peak is not known.

    A final rise does not count, unless the schedule ends with it or stays where it led. Beyond the end of a run, which
    only the training loop knows, a formula such as (1 - t/T)² rises again.

    >>> settled_peaks(Asked([[1.0], [8.0], [2.0]], has_end=False)), settled_peaks(Asked([[1.0], [2.0]], has_end=False))
    ([8.0], None)
    """
    peaks = []
    for lrs in zip(*asked.lrs, strict=True):
        kept = len(lrs)
        if not asked.has_end and lrs[-1] != lrs[(len(lrs) - 1) * 4 // 5]:
            while kept > 1 and lrs[kept - 2] <= lrs[kept - 1]:
                kept -= 1
            kept -= 1
        if not kept:
            return None
        peaks.append(max(lrs[:kept]))
    return peaks


def _peaks_out_of_turn(scheduler: LRScheduler) -> list[float] | None:
    if isinstance(scheduler, SequentialLR):
        starts = [0, *scheduler._milestones]
        lengths = [end - start for start, end in zip(starts, scheduler._milestones, strict=False)]
        parts = [_peaks_at(one, length) for one, length in zip(scheduler._schedulers, [*lengths, None], strict=True)]
        known = [part for part in parts if part is not None]
        return [max(of_group) for of_group in zip(*known, strict=True)] if len(known) == len(parts) else None
    return _peaks_at(scheduler, None)


def _peaks_at(scheduler: LRScheduler, length: int | None) -> list[float] | None:
    """Return the peaks within the first steps of a scheduler, or within all of them."""
    if isinstance(scheduler, SequentialLR):
        return _peaks_out_of_turn(scheduler)

    def lrs_at(step: int) -> list[float]:
        scheduler.last_epoch, scheduler._get_lr_called_within_step = step, True
        ask: Callable[[], Sequence[Any]] = getattr(scheduler, "_get_closed_form_lr", scheduler.get_lr)
        return [float(lr) for lr in ask()]

    steps, asked = _asked(lrs_at, length)
    peaks = settled_peaks(asked)
    if peaks is None:
        return None
    return [max(peak, _refined(lrs_at, steps, asked.lrs, group, peak)) for group, peak in enumerate(peaks)]


def _asked(lrs_at: Callable[[int], list[float]], length: int | None) -> tuple[list[int], Asked]:
    """Ask all steps at first and then fewer, until the peak lies far back."""
    steps: list[int] = []
    lrs: list[list[float]] = []
    highest: list[float] = []
    at_highest, step = 0, 0
    while step <= LAST_STEP and step < PAST_PEAK * max(at_highest, EACH_STEP):
        if length is not None and step >= length:
            return steps, Asked(lrs, has_end=True)
        try:
            now = lrs_at(step)
        except OverflowError:
            break
        except OutOfReachError:
            raise
        except Exception:
            # A table of lrs ends here, or a schedule refuses steps beyond its last.
            return steps, Asked(lrs, has_end=True)
        if not all(map(math.isfinite, now)):
            break
        if not highest or any(a > b for a, b in zip(now, highest, strict=True)):
            at_highest = step
            highest = [max(pair) for pair in zip(now, highest or now, strict=True)]
        steps.append(step)
        lrs.append(now)
        step = step + 1 if step < EACH_STEP else math.ceil(step * STRIDE)
    return steps, Asked(lrs, has_end=False)


def _refined(
    lrs_at: Callable[[int], list[float]], steps: Sequence[int], lrs: Sequence[list[float]], group: int, peak: float
) -> float:
    """Refine the maximum between the asked steps, at the first hill that is nearly as high as the peak."""
    top = next(at for at, of_step in enumerate(lrs) if of_step[group] >= 0.98 * peak)
    while top + 1 < len(lrs) and lrs[top][group] < lrs[top + 1][group] <= peak:
        top += 1
    low, high = steps[max(top - 1, 0)], steps[min(top + 1, len(steps) - 1)]
    while high - low > 2:
        left, right = low + (high - low) // 3, high - (high - low) // 3
        if lrs_at(left)[group] < lrs_at(right)[group]:
            low = left
        else:
            high = right
    return max(lrs_at(step)[group] for step in range(low, high + 1))


def _peaks_in_turn(scheduler: LRScheduler) -> list[float] | None:
    """Return `settled_peaks` of the steps to come, unless some have passed that might have been the highest."""
    groups = scheduler.optimizer.param_groups
    has_begun = any(one.last_epoch > 1 for one in _parts(scheduler) if hasattr(one, "last_epoch"))
    lrs, has_end = [[float(group["lr"]) for group in groups]], False
    starts = [float(group.get("initial_lr", group["lr"])) for group in groups]
    highest, at_highest = lrs[0], 0
    for step in range(IN_TURN):
        if step >= PAST_PEAK * max(at_highest, EACH_STEP // 4):
            break
        try:
            scheduler.step()
        except OutOfReachError:
            raise
        except Exception:
            has_end = True
            break
        lrs.append([float(group["lr"]) for group in groups])
        if not all(map(math.isfinite, lrs[-1])):
            del lrs[-1]
            break
        if any(a > b for a, b in zip(lrs[-1], highest, strict=True)):
            at_highest = step
            highest = [max(pair) for pair in zip(lrs[-1], highest, strict=True)]
    peaks = settled_peaks(Asked(lrs, has_end))
    # If the peak is not ahead, there may have been a higher one in the past.
    passed = [max(now, start) for now, start in zip(lrs[0], starts, strict=True)]
    return None if has_begun and peaks and not all(a > b for a, b in zip(peaks, passed, strict=True)) else peaks


def _held_schedulers(scheduler: LRScheduler) -> Iterator[LRScheduler]:
    """Yield the schedulers that it steps, under any name: `_schedulers`, or the `after_scheduler` of a warm-up."""
    for value in vars(scheduler).values():
        for one in value if isinstance(value, list | tuple) else (value,):
            if isinstance(one, LRScheduler) and one is not scheduler:
                yield one


def _parts(scheduler: LRScheduler) -> Iterator[LRScheduler]:
    yield scheduler
    for part in _held_schedulers(scheduler):
        yield from _parts(part)


def _holders(optimizer: Optimizer) -> list[Any]:
    """Return schedulers and optimizers that have the optimizer as an attribute, or in a list or tuple that is one."""
    holders: dict[int, Any] = {}
    frontier: list[Any] = [optimizer]
    # Attributes that have been accessed are in a dict of their own; a tuple in such a dict is the longest path.
    for _ in range(3):
        referrers = [one for one in gc.get_referrers(*frontier) if one is not frontier]
        holders |= {id(one): one for one in referrers if issubclass(type(one), LRScheduler | Optimizer)}
        frontier = [one for one in referrers if type(one) in (list, tuple) or _is_of_attributes(one)]
        if not frontier:
            break
    return [one for one in holders.values() if any(held is optimizer for held in held_optimizers(one))]


def _is_of_attributes(one: Any) -> bool:
    """Return whether this may be the dict of an object's attributes, not a module's, to which its functions refer."""
    return type(one) is dict and "__builtins__" not in one


def _stand_in(optimizer: Optimizer) -> Optimizer:
    """Return an optimizer of the same class with copies of the groups, to which copies of its schedulers can write."""

    def step() -> None: ...

    # Without these attributes torch warns that the scheduler is stepped before the optimizer.
    step._wrapped_by_lr_sched = True  # pyright: ignore[reportFunctionMemberAccess]
    twin = object.__new__(type(optimizer))
    groups = [_copied_group(group) for group in optimizer.param_groups]
    own = {"param_groups": groups, "state": {}, "step": step, "_opt_called": True}
    twin.__dict__.update({**vars(optimizer), **own})
    if twin.param_groups is not groups:
        raise TypeError(
            f"{type(optimizer).__name__} takes its groups from elsewhere, so its schedulers cannot be asked on a copy"
        )
    return twin


def _copied_group(group: Group) -> Group:
    copied = {key: value.clone() if isinstance(value, Tensor) else value for key, value in group.items()}
    return {**copied, "params": [], "lr": float(group["lr"])}
