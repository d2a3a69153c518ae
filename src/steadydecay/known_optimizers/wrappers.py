"""Optimizers that hold others: which one really steps a group, and whose steps have to be followed."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch.optim import Optimizer


def unwrapped(optimizer: Any) -> Optimizer:
    """The optimizer that really steps the weights: what is passed, or what it holds under whatever name.

    Accelerate, SAM, Lookahead and their like hold one; the step of a wrapper may not run hooks, or may never be called.
    An optimizer that shares the groups of several (a chain) counts as one.

    Args:
        optimizer: a torch optimizer, or any object that holds one as an attribute (fairseq, DeepSpeed).

    Raises:
        TypeError: neither an optimizer nor a holder of one.
        ValueError: it holds several, and has no step that could be followed in place of theirs.
    """
    return layers_of(optimizer)[-1]


def followed(optimizer: Any) -> list[Optimizer]:
    """The optimizers whose step may be what moves the weights: `unwrapped`, and the wrappers that share its groups.

    Such a wrapper may move them by itself and never step what it holds. Where it does, the hooks of a step run twice.
    """
    *outer, real = layers_of(optimizer)
    return [real, *(layer for layer in outer if runs_hooks(layer) and _share_groups(layer, [real]))]


def owner_of(optimizer: Optimizer, group: Mapping[str, Any]) -> Optimizer:
    """The optimizer that steps the group: in one that holds others, the innermost whose group it is."""
    seen: set[int] = set()
    while id(optimizer) not in seen:
        seen.add(id(optimizer))
        having_it = (one for one in _held_within(optimizer) if any(own is group for own in one.param_groups))
        optimizer = next((one for one in having_it if id(one) not in seen), optimizer)
    return optimizer


def held_optimizers(holder: Any) -> list[Optimizer]:
    """The torch optimizers that an object holds, as attributes or in lists, tuples and dicts that are attributes."""
    # The state of many parameters is a long way round.
    attributes = (value for name, value in getattr(holder, "__dict__", {}).items() if name != "state")
    found = (one for value in attributes for one in _elements(value) if isinstance(one, Optimizer))
    return list({id(one): one for one in found if one is not holder}.values())


def runs_hooks(optimizer: Any) -> bool:
    """Whether a step runs the hooks that are registered: not in a wrapper that never calls torch's constructor."""
    has_hooks = {"_optimizer_step_pre_hooks", "_optimizer_step_post_hooks"} <= getattr(optimizer, "__dict__", {}).keys()
    return has_hooks and bool(getattr(getattr(type(optimizer), "step", None), "hooked", False))


def layers_of(optimizer: Any) -> list[Any]:
    """What is passed, what it holds, and so on, as long as the one inside steps the weights of the one around it."""
    layers = [optimizer]
    while inner := [one for one in _held_within(layers[-1]) if not any(one is layer for layer in layers)]:
        outer = layers[-1]
        if len(inner) > 1 and not (runs_hooks(outer) and _share_groups(outer, inner)):
            names = " and ".join(type(one).__name__ for one in inner)
            raise ValueError(
                f"optimizer is a {type(outer).__name__}, which holds several optimizers ({names}) and has no step that "
                f"could be followed in place of theirs; attach to each of them"
            )
        # Of ZeroRedundancyOptimizer, the one inside has the share of one process.
        if len(inner) > 1 or (runs_hooks(outer) and _weights_of(outer) != _weights_of(inner[0])):
            break
        layers.append(inner[0])
    if not isinstance(layers[-1], Optimizer):
        remedy = "of a wrapper, pass the torch optimizer that it steps"
        raise TypeError(f"optimizer is a {type(layers[-1]).__name__}; legal is a torch.optim.Optimizer: {remedy}")
    return layers


def _held_within(holder: Any) -> list[Any]:
    """The optimizers that are held, without those that another of them holds; else a holder of one (fairseq's own).

    One that holds the holder in turn is the wrapper of it, where a step of the holder can be followed.
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
    """Whether every group of the optimizer is one of the others', the same object."""
    of_others = {id(group) for one in others for group in one.param_groups}
    return all(id(group) in of_others for group in optimizer.param_groups)


def _weights_of(optimizer: Optimizer) -> set[int]:
    return {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
