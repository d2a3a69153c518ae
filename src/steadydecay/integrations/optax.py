"""Corrected weight decay for optax (JAX). Imports no torch."""

import math
from collections.abc import Callable
from fnmatch import fnmatchcase
from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp
import optax

from steadydecay.theory.decay_rules import Reference, rule_named
from steadydecay.theory.decay_rules import weight_decay as weight_decay_at
from steadydecay.theory.filters import Momentum, MomentumFilter, momentum_filter
from steadydecay.theory.validation import require_in

Mask = Any | Callable[[Any], Any]
MomentumSchedule = Momentum | Callable[[Any], Momentum]


def weight_decay_schedule(
    learning_rate: optax.ScalarOrSchedule,
    weight_decay: float,
    *,
    reference_lr: float | None = None,
    momentum: MomentumSchedule = 0.0,
    reference_momentum: Momentum | None = None,
    nesterov: bool = False,
    rule: str = "corrected",
) -> optax.Schedule:
    """Return the schedule of the coefficient λ that holds the weight norm, for optax's `weight_decay` arguments.

    Pass it as `weight_decay` to any optimizer that decouples its decay and accepts a schedule, such as `optax.adamw`,
    `optax.lion` or `optax.contrib.muon`. Under the rule "corrected", the decay of a step is proportional to the square
    of its effective learning rate (arXiv 2512.08217, Eq. 4).

    Args:
        learning_rate: The learning rate γ ≥ 0 that the optimizer uses: a number, or an optax schedule.
        weight_decay: The coefficient λ ≥ 0 at the reference, where λ · reference_lr < 1.
        reference_lr: The learning rate above 0 at which `weight_decay` was chosen, normally the peak of the schedule.
            It may be omitted only if `learning_rate` is a number.
        momentum: The momentum in [0, 1), a filter such as `steadydecay.theory.lion_average(0.9, 0.99)`, or a schedule
            of either. It matters for optimizers that normalise their momentum (Muon, Lion, Scion). Leave it at 0 for
            Adam, whose second moment normalises the update.
        reference_momentum: The momentum at which `weight_decay` was chosen. It may be omitted only if `momentum` is not
            a schedule.
        nesterov: Whether the momentum looks ahead by one gradient. This has no effect on a filter.
        rule: "constant", "corrected" or "exact", as in `steadydecay.theory.weight_decay`.

    Returns:
        A function from the step count to λ, which can be traced by `jax.jit`.

    Raises:
        ValueError: An argument is outside its range, or a reference is missing.

    >>> schedule = weight_decay_schedule(optax.cosine_decay_schedule(1.0, 4), 0.1, reference_lr=1.0)
    >>> [round(float(schedule(step)), 4) for step in range(5)]
    [0.1, 0.0854, 0.05, 0.0146, 0.0]
    """
    rule_named(rule)
    lr = _reference_lr(learning_rate, reference_lr)
    remedy = (
        f"each step at the reference lr={lr!r} removes the share lr · weight_decay of a weight, which must be below 1"
    )
    _require_number("weight_decay", weight_decay, 0, 1 / lr, include_low=True, remedy=remedy)
    start = _reference_filter(momentum, reference_momentum, nesterov)
    reference = Reference(lr, float(weight_decay), start)

    def schedule(count: Any) -> Any:
        of_step = momentum(count) if callable(momentum) else momentum
        return weight_decay_at(_at(learning_rate, count), _as_arrays(of_step), nesterov, reference, rule)

    return schedule


def add_steady_decay(
    learning_rate: optax.ScalarOrSchedule,
    weight_decay: float,
    *,
    output: Mask | None,
    mask: Mask | None = None,
    **settings: Any,
) -> optax.GradientTransformation:
    """Add decoupled weight decay that holds the weight norm, in the place of `optax.add_decayed_weights` in a chain.

    Put it after what normalises the gradients and before `optax.scale_by_learning_rate`, which must be given the same
    learning rate.

    Args:
        learning_rate: As in `weight_decay_schedule`.
        weight_decay: As in `weight_decay_schedule`.
        output: Which parameters belong to the output layer, whose decay stays constant because its updates never
            become independent of its weights (arXiv 2512.08217, Appendix D). It is a tree of booleans, as optax's masks
            are, or a function from the parameters to one, such as `paths_like("*lm_head*")`. None corrects every
            parameter.
        mask: Which parameters decay at all, in the same form; None means all of them.
        **settings: The keyword arguments of `weight_decay_schedule`.

    Raises:
        ValueError: An argument is outside its range, or a reference is missing.
        TypeError: A keyword argument is unknown.
    """
    schedule = weight_decay_schedule(learning_rate, weight_decay, **settings)

    def decayed(params: Any, is_output: bool) -> Any:
        masks = _as_tree(mask, params, default=True), _as_tree(output, params, default=False)
        return jax.tree.map(lambda decays, of_output: decays and of_output == is_output, *masks)

    return optax.chain(
        optax.add_decayed_weights(schedule, lambda params: decayed(params, is_output=False)),
        optax.add_decayed_weights(float(weight_decay), lambda params: decayed(params, is_output=True)),
    )


def paths_like(*patterns: str) -> Callable[[Any], Any]:
    """Return a mask of the parameters whose path, such as "decoder/lm_head/kernel", matches one of the patterns.

    Args:
        patterns: Patterns with `*`, `?` and `[...]`; `*` also matches "/". Capitals matter.

    Returns:
        A function from a tree of parameters to a tree of booleans. It raises ValueError for a pattern that matches no
        parameter.

    >>> paths_like("*head*")({"body": {"kernel": 1.0}, "lm_head": {"kernel": 2.0}})
    {'body': {'kernel': False}, 'lm_head': {'kernel': True}}
    """
    if not patterns or not all(isinstance(pattern, str) for pattern in patterns):
        raise ValueError(f"patterns is {patterns!r}; it must have at least one string, such as '*lm_head*'")

    def mask(params: Any) -> Any:
        paths = [_path_text(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
        for pattern in patterns:
            if not any(fnmatchcase(path, pattern) for path in paths):
                raise ValueError(f"patterns has {pattern!r}, which matches no parameter; it must match one of {paths}")
        return jax.tree_util.tree_map_with_path(
            lambda path, _: any(fnmatchcase(_path_text(path), pattern) for pattern in patterns), params
        )

    return mask


def _path_text(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _as_tree(mask: Mask | None, params: Any, default: bool) -> Any:
    """Return a mask of every leaf, from a function or from a tree that stops at a whole branch, as in optax."""
    if mask is None:
        return jax.tree.map(lambda _: default, params)
    return jax.tree.broadcast(mask(params) if callable(mask) else mask, params)


def _at(value: Any, count: Any) -> Any:
    """Return an array, because the rules accept arrays through their `clip` and never branch on a traced value."""
    return jnp.asarray(value(count) if callable(value) else value)


def _as_arrays(momentum: Any) -> Any:
    values: Any = jax.tree.map(jnp.asarray, momentum)
    return values


def _reference_lr(learning_rate: Any, reference_lr: float | None) -> float:
    if isinstance(learning_rate, Real):
        require_in("learning_rate", float(learning_rate), 0, include_low=True)
        reference_lr = float(learning_rate) if reference_lr is None else reference_lr
    remedy = "pass the learning rate at which weight_decay was chosen, the peak of its schedule"
    _require_number("reference_lr", reference_lr, 0, math.inf, remedy=remedy)
    return float(reference_lr)  # pyright: ignore[reportArgumentType]  (checked above)


def _reference_filter(momentum: Any, reference_momentum: Any, nesterov: bool) -> MomentumFilter:
    if not callable(momentum) and not isinstance(momentum, jax.Array):
        momentum_filter(momentum, nesterov)
        reference_momentum = momentum if reference_momentum is None else reference_momentum
    if reference_momentum is None:
        raise ValueError(
            "reference_momentum is None; it must be a number in [0, 1) or a filter: "
            "pass the momentum at which weight_decay was chosen"
        )
    return momentum_filter(reference_momentum, nesterov)


def _require_number(name: str, value: Any, low: float, high: float, *, include_low: bool = False, remedy: str) -> None:
    if not isinstance(value, Real) or isinstance(value, bool):
        raise ValueError(f"{name} is {value!r}; it must be a number: {remedy}")
    require_in(name, float(value), low, high, include_low=include_low, remedy=remedy)
