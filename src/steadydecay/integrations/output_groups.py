"""Find the groups to correct if no group has a role, so that only the model knows the output layer."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from steadydecay.groups.roles import roles_of


def groups_beside_output(groups: Sequence[Mapping[str, Any]], model: nn.Module) -> list[int] | None:
    """Return the indices of the groups that hold more than the model's output layer, or None if the groups have roles.

    It is also None if a parameter is not the model's own because a wrapper has flattened it, since the model then
    cannot tell. A warning is given if a group that decays mixes the output layer with others, as those of
    transformers.Trainer do.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    has_roles = any(group.get("role") is not None for group in groups)
    if has_roles or any(id(parameter) not in names for group in groups for parameter in group["params"]):
        return None
    roles, selected = roles_of(model), []
    for index, group in enumerate(groups):
        of_group = [names[id(parameter)] for parameter in group["params"]]
        of_output = [name for name in of_group if roles[name] == "output"]
        if len(of_output) < len(of_group):
            selected.append(index)
            if of_output and group.get("weight_decay", 0.0) != 0:
                _warn_of_mixed_group(index, of_output)
    return selected


def _warn_of_mixed_group(index: int, of_output: Sequence[str]) -> None:
    warnings.warn(
        f"group {index} mixes the output layer ({', '.join(of_output)}), whose decay should stay constant "
        f"(arXiv 2512.08217, Appendix D), with other layers, and the whole group is corrected. Give the optimizer "
        f"groups from steadydecay.param_groups(model, 'adamw', lr=..., weight_decay=...), or pass where=...",
        stacklevel=2,
    )
