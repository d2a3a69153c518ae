"""Optimizers that hold others: which one really steps a group, and whose steps must be followed."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch.optim import Optimizer


def unwrapped(optimizer: Any) -> Optimizer:
    """Return the optimizer that really steps the weights: the one passed, or the one that it holds under any name.

    Accelerate, SAM, Lookahead and similar wrappers hold one. The step of a wrapper may not run hooks, or may never be
    called. An optimizer that shares the groups of several others (a chain) counts as one.

    Args:
        optimizer: A torch optimizer, or any object that holds one as an attribute (fairseq, DeepSpeed).

    Raises:
        TypeError: It is neither an optimizer nor an object that holds one.
        ValueError: It holds several optimizers, and has no step that could be followed instead of theirs.
    """
    return _layers(optimizer)[-1]


def followed(optimizer: Any) -> list[Optimizer]:
    """Return the optimizers whose step may move the weights: `unwrapped`, and the wrappers that share its groups.

    Such a wrapper may move the weights itself and never step the optimizer that it holds. If it does step it, the hooks
    of a step run twice.
    """
    *outer, real = _layers(optimizer)
    return [real, *(layer for layer in outer if runs_hooks(layer) and _share_groups(layer, [real]))]


def owner_of(optimizer: Optimizer, group: Mapping[str, Any]) -> Optimizer:
    """Return the optimizer that steps the group: among nested optimizers, the innermost that has the group."""
    seen: set[int] = set()
    while id(optimizer) not in seen:
        seen.add(id(optimizer))
        having_it = (one for one in _held_within(optimizer) if any(own is group for own in one.param_groups))
        optimizer = next((one for one in having_it if id(one) not in seen), optimizer)
    return optimizer


def held_optimizers(holder: Any) -> list[Optimizer]:
    """Return the torch optimizers in an object's attributes, or in lists, tuples and dicts that are attributes."""
    # Searching the state of many parameters would take long.
    attributes = (value for name, value in getattr(holder, "__dict__", {}).items() if name != "state")
    found = (one for value in attributes for one in _elements(value) if isinstance(one, Optimizer))
    return list({id(one): one for one in found if one is not holder}.values())


def runs_hooks(optimizer: Any) -> bool:
    """Return whether a step runs registered hooks, which fails in a wrapper that never calls torch's constructor."""
    has_hooks = {"_optimizer_step_pre_hooks", "_optimizer_step_post_hooks"} <= getattr(optimizer, "__dict__", {}).keys()
    return has_hooks and bool(getattr(type(optimizer).step, "hooked", False))


def _layers(optimizer: Any) -> list[Any]:
    """Return the object, the one it holds, and so on, as long as the inner one steps the weights of the outer one."""
    layers = [optimizer]
    while inner := [one for one in _held_within(layers[-1]) if not any(one is layer for layer in layers)]:
        outer = layers[-1]
        if len(inner) > 1 and not (runs_hooks(outer) and _share_groups(outer, inner)):
            names = " and ".join(type(one).__name__ for one in inner)
            raise ValueError(
                f"optimizer is a {type(outer).__name__}, which holds several optimizers ({names}) and has no step that "
                f"could be followed instead of theirs; attach to each of them separately"
            )
        # In ZeroRedundancyOptimizer, the inner optimizer has the share of one process.
        if len(inner) > 1 or (runs_hooks(outer) and _weights_of(outer) != _weights_of(inner[0])):
            break
        layers.append(inner[0])
    if not isinstance(layers[-1], Optimizer):
        remedy = "If it is a wrapper, pass the torch optimizer that it steps"
        raise TypeError(f"optimizer is a {type(layers[-1]).__name__}; it must be a torch.optim.Optimizer. {remedy}")
    return layers


def _held_within(holder: Any) -> list[Any]:
    """Return the optimizers that an object holds, except those inside another of them; or else a holder of one
    (fairseq's).

    An optimizer that holds the object in turn is the object's wrapper, if a step of the object can be followed.
    """
    held = held_optimizers(holder)
    if runs_hooks(holder):
        held = [one for one in held if not any(back is holder for back in held_optimizers(one))]
    if not held and not isinstance(holder, Optimizer):
        named = (value for name, value in getattr(holder, "__dict__", {}).items() if "optim" in name)
        return [value for value in named if held_optimizers(value)][:1]
    deeper = {id(inner) for one in held for inner in held_optimizers(one)}
    return [one for one in held if id(one) not in deeper]


def _elements(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list | tuple) else (value,)


def _share_groups(optimizer: Optimizer, others: Iterable[Optimizer]) -> bool:
    """Return whether every group of the optimizer is the same object as a group of the others."""
    of_others = {id(group) for one in others for group in one.param_groups}
    return all(id(group) in of_others for group in optimizer.param_groups)


def _weights_of(optimizer: Optimizer) -> set[int]:
    return {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
