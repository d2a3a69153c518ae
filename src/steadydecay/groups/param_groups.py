"""Build parameter groups from a model: the role of each parameter, and what follows from it."""

import difflib
import fnmatch
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from steadydecay.groups.fused import spectral_spec
from steadydecay.groups.intrinsic_roles import ROLES, Role
from steadydecay.groups.places import Place, places_of
from steadydecay.groups.roles import FoundRole, Output, found_roles, require_match
from steadydecay.groups.settings import Group, decay_of
from steadydecay.groups.shared_random import drawn_alike
from steadydecay.groups.undecayed import undecayed
from steadydecay.groups.weight_names import weight_names
from steadydecay.known_optimizers.named_optimizers import NAMED_OPTIMIZERS
from steadydecay.norms import Norm, norm_for, norm_name
from steadydecay.parallel.shards import is_here, local_part, part_of_whole, sharding_of
from steadydecay.tensors.fillable_weights import require_fillable

PerRole = float | Mapping[Any, float]

# Table 1 of arXiv 2512.08217 and Pethick et al. (arXiv 2502.07529) for convolutions.
NORM_OF_ROLE: dict[Any, str] = {
    "hidden": "spectral",
    "output": "sign",
    "embedding": "sign",
    "vector": "bias",
    "conv": "spectral_conv",
    "router": "spectral",
}
OVERRIDE_KEYS = ("lr", "momentum", "betas", "weight_decay", "decay", "reference_lr", "reference_momentum")
OVERRIDE_KEYS += ("steady_norm_sq", "norm", "role", "nesterov", "memory_light", "eps")
DECAY_KEYS = {"weight_decay", "steady_norm_sq"}


def param_groups(
    model: nn.Module,
    optimizer: str = "scion",
    *,
    lr: PerRole,
    weight_decay: PerRole = 0.0,
    output: Output = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    layer_decay: float = 1.0,
) -> list[Group]:
    """Build parameter groups for `optimizer`, with every trainable parameter of the model in exactly one group.

    There is one group for each role and choice of settings. docs/roles.md says how each role is found:

    - "output" is the last layer. It is found through the model's own `get_output_embeddings` or `get_classifier`, a
      weight tied to an embedding, a usual name (lm_head, classifier, to_logits, ...), or its place. Its decay is
      "constant" (arXiv 2512.08217, Appendix D).
    - "embedding", "conv" and "hidden" (matrices) follow from the module, and a "router" chooses experts.
    - "vector" is the rest: biases, gains, class tokens, the dynamics of a state-space model. Vectors have no decay
      under Adam.

    Wrappers, parametrizations and adapters change no role. Parameters that the model's authors mark as such
    (`_no_weight_decay`, `no_weight_decay()`) have no decay under any optimizer. Query, key and value in one weight,
    stacked experts and transposed weights get an LMO for each matrix (`steadydecay.groups.fused`). Guesses are listed
    under the key "role_notes", and `describe` prints them.

    Args:
        model: The model. Its parameters, buffers and modules are only read.
        optimizer: The name of the optimizer, such as "scion" or "adamw": a key of `NAMED_OPTIMIZERS`. Scion and ScionC
            also get a norm for each group.
        lr: The learning rate ≥ 0 of all groups, or one for each role: {"hidden": 0.04, "output": 0.3, ...}. Routers
            without an entry use that of "hidden".
        weight_decay: The weight decay ≥ 0, given likewise, in PyTorch's convention (the step multiplies it by lr).
        output: The output layer, if it cannot be found: a module, or patterns of parameter or module names. Use False
            if the model has none.
        overrides: A dict from patterns of parameter names (`fnmatch`) to group keys, such as {"*.gate": {"lr": 0.1,
            "norm": "sign"}}. Names may be given with or without what wrappers add to them. All patterns that match
            apply, in order. An override of "role" also changes what follows from the role.
        layer_decay: A factor in (0, 1]: the learning rate of the k-th layer below the top is multiplied by
            layer_decay^k (arXiv 2106.08254). Layers are numbered by the first number in a name. Embeddings and whatever
            comes before the layers count as one layer below them, and the output and whatever comes after as the top.
            An overridden lr is not scaled.

    Returns:
        A list of groups, each a dict with "params", "param_names", "role", "lr", "weight_decay" and further keys.

    Raises:
        ValueError: The optimizer or a role is unknown, a pattern matches no parameter, a key is misspelled, a role has
            no lr or weight_decay (its parameters would be in no group), or the model has nothing to train.
    """
    overrides = overrides or {}
    _check_arguments(optimizer, lr, weight_decay, overrides, layer_decay)
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    if not names:
        raise ValueError("model has no trainable parameter; set requires_grad on the parameters that you want to train")
    places = {place.name: place for place in places_of(model)}
    for pattern in overrides:
        require_match(pattern, [one for name in names for one in places[name].names], argument="overrides")
    groups: dict[str, Group] = {}
    roles, depths, reasons = found_roles(model, output), depths_below_top(names), undecayed(model, places.values())
    for name in names:
        place = places[name]
        own = _overrides_of(place, overrides)
        settings = _settings(name, roles[name].role, optimizer, lr, weight_decay, own, layer_decay ** depths[name])
        if name in reasons and not own.keys() & DECAY_KEYS:
            settings |= {"weight_decay": 0.0, "steady_norm_sq": None}
        if isinstance(settings.get("norm"), str):
            settings["norm"] = norm_name(settings["norm"])
        if settings.get("norm") == "spectral" and place.parameter.ndim > 1:
            settings["norm"] = spectral_spec(place.plain_name, place.parameter, place.owner)
        group = groups.setdefault(repr(settings), {"params": [], "param_names": [], **settings})
        group["params"].append(place.parameter)
        group["param_names"].append(name)
        if note := _note(roles[name], own, reasons.get(name)):
            group.setdefault("role_notes", {})[name] = note
    return list(groups.values())


def describe(groups: Iterable[Mapping[str, Any]]) -> str:
    """Return a table of groups as text, with one row for each group that says how it is decayed.

    The lines below the table say what `param_groups` has guessed and why, so that you can correct a wrong guess.

    Args:
        groups: Groups from `param_groups`, or an optimizer's `param_groups`.
    """
    header = ("role", "norm", "decay", "lr", "weight_decay", "decay/step", "tensors", "parameters", "names")
    groups = list(groups)
    rows = [header, *(_description(group) for group in groups)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join([*lines, *_notes(groups)])


def init_(groups: Iterable[Mapping[str, Any]], generator: torch.Generator | None = None) -> None:
    """Fill every weight with a random direction of norm 1 under the norm of its group (LMO initialisation, arXiv
    2502.07529).

    Vectors keep their values, because a gain starts at one and a bias at zero whatever the norm.

    A DTensor gets its part of the whole weight that one process would draw, bit for bit, for any number of ranks and
    any sharding. Every rank of its mesh must call this function. All ranks draw from the generator state of the first
    rank, and hold one whole weight at a time. Plain weights are filled from each rank's own generator: seed all ranks
    alike, or call this function before `DistributedDataParallel` synchronises them.

    Args:
        groups: Groups from `param_groups` for Scion, or an optimizer's `param_groups`.
        generator: A source of randomness on the parameters' device. The default is the global one.

    Raises:
        ValueError: A group has no norm, or a weight is complex or on the meta device. No weight has changed.
    """
    groups = list(groups)
    for group in groups:
        if "norm" not in group:
            raise ValueError(
                f"the group with role {group.get('role')!r} has no norm; use param_groups(model, 'scion', ...)"
            )
    filled = [
        (name, parameter, group["norm"])
        for index, group in enumerate(groups)
        for name, parameter in zip(weight_names(group, index), group["params"], strict=True)
        if parameter.ndim >= 2 and group.get("role") != "vector"
    ]
    for name, parameter, _ in filled:
        require_fillable(parameter, name, is_shared=True)
    with drawn_alike([parameter for _, parameter, _ in filled], generator):
        for _, parameter, norm in filled:
            _fill(parameter, norm_for(norm, parameter.ndim), generator)


@torch.no_grad()
def _fill(parameter: Tensor, norm: Norm, generator: torch.Generator | None) -> None:
    if not isinstance(parameter, DTensor):
        norm.init_(parameter, generator)
    elif is_here(parameter):
        whole = torch.empty(parameter.shape, dtype=parameter.dtype, device=parameter.device)
        local_part(parameter).copy_(part_of_whole(norm.init_(whole, generator), sharding_of(parameter)))


def depths_below_top(names: Iterable[str]) -> dict[str, int]:
    """Return how far each parameter's layer is below the top. Layers are numbered by the first number in a name.

    >>> depths_below_top(["wte.weight", "h.0.up.weight", "h.1.up.weight", "head.weight"])
    {'wte.weight': 3, 'h.0.up.weight': 2, 'h.1.up.weight': 1, 'head.weight': 0}
    """
    names = list(names)
    numbers = {name: next((int(part) for part in name.split(".") if part.isdigit()), None) for name in names}
    numbered = [index for index, name in enumerate(names) if numbers[name] is not None]
    layers = 1 + max((number for number in numbers.values() if number is not None), default=-1)
    first_layer = numbered[0] if numbered else len(names)
    outside = {name: layers + 1 if index < first_layer else 0 for index, name in enumerate(names)}
    return {name: outside[name] if (number := numbers[name]) is None else layers - number for name in names}


def _check_arguments(
    optimizer: str,
    lr: PerRole,
    weight_decay: PerRole,
    overrides: Mapping[str, Mapping[str, Any]],
    layer_decay: float,
) -> None:
    if optimizer not in NAMED_OPTIMIZERS:
        raise ValueError(f"optimizer is {optimizer!r}; it must be one of {', '.join(map(repr, NAMED_OPTIMIZERS))}")
    if not 0 < layer_decay <= 1:
        raise ValueError(f"layer_decay is {layer_decay!r}; it must be in (0, 1], where 1 gives all layers the same lr")
    for argument, value in (("lr", lr), ("weight_decay", weight_decay)):
        for role in value if isinstance(value, Mapping) else ():
            if role not in ROLES:
                raise ValueError(
                    f"{argument} has an entry for role {role!r}; roles must be among {', '.join(map(repr, ROLES))}"
                )
    for pattern, keys in overrides.items():
        _check_spelling(pattern, keys)


def _check_spelling(pattern: str, keys: Iterable[str]) -> None:
    # Other optimizers have keys of their own, so only a key that is close to one of ours counts as misspelled.
    for key in keys:
        close = difflib.get_close_matches(key, OVERRIDE_KEYS, n=1, cutoff=0.8)
        if key not in OVERRIDE_KEYS and close:
            raise ValueError(f"overrides has the unknown key {key!r} for {pattern!r}; did you mean {close[0]!r}?")


def _overrides_of(place: Place, overrides: Mapping[str, Mapping[str, Any]]) -> Group:
    """Return the keys that the matching patterns set for a parameter, in order."""
    own: Group = {}
    for pattern, keys in overrides.items():
        own |= keys if any(fnmatch.fnmatchcase(name, pattern) for name in place.names) else {}
    return own


def _note(found: FoundRole, override: Group, undecayed_because: str | None) -> str:
    """Return what was guessed about a parameter and why, for `describe`; "" if nothing was, or an override decides."""
    notes = []
    if found.doubt and "role" not in override:
        notes.append(f"treated as {found.role!r} {found.doubt}")
    if undecayed_because and not override.keys() & DECAY_KEYS:
        notes.append(f"not decayed, {undecayed_because}")
    return "; and ".join(notes)


def _settings(
    name: str,
    found_role: Role,
    optimizer: str,
    lr: PerRole,
    weight_decay: PerRole,
    override: Group,
    lr_scale: float,
) -> Group:
    role = override.get("role", found_role)
    if role not in ROLES:
        raise ValueError(f"role is {role!r} for {name!r}; it must be one of {', '.join(map(repr, ROLES))}")
    settings: Group = {"role": role}
    settings["lr"] = override["lr"] if "lr" in override else lr_scale * _of_role("lr", lr, role, name)
    if role == "vector" and not NAMED_OPTIMIZERS[optimizer].takes_norms:
        settings["weight_decay"] = 0.0
    elif "weight_decay" not in override and "steady_norm_sq" not in override:
        settings["weight_decay"] = _of_role("weight_decay", weight_decay, role, name)
    if NAMED_OPTIMIZERS[optimizer].takes_norms:
        settings["norm"] = NORM_OF_ROLE[role]
    if role == "output":
        settings["decay"] = "constant"
    return settings | override


def _of_role(argument: str, value: PerRole, role: Role, name: str) -> float:
    if not isinstance(value, Mapping):
        return value
    if role == "router" and role not in value:
        return _of_role(argument, value, "hidden", name)
    if role not in value:
        raise ValueError(
            f"{argument} has no entry for role {role!r}, so {name!r} would not be in any group; add an entry"
        )
    return value[role]


def _description(group: Mapping[str, Any]) -> tuple[str, ...]:
    parameters: list[Tensor] = group["params"]
    lr, weight_decay = float(group["lr"]), group.get("weight_decay")
    weight_decay = "" if weight_decay is None else f"{float(weight_decay):.4g}"
    if group.get("steady_norm_sq") is not None:
        weight_decay = f"for S = {group['steady_norm_sq']:g}"
    return (
        str(group.get("role", "")),
        _norm_name(group.get("norm", "")),
        str(group.get("decay", "as optimizer")),
        f"{lr:.4g}",
        weight_decay,
        _decay_per_step(group),
        str(len(parameters)),
        f"{sum(parameter.numel() for parameter in parameters):,}",
        " ".join(_by_pattern(group.get("param_names", ()))),
    )


def _notes(groups: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield one line for each guess, with the names that it is about."""
    by_note: dict[str, list[str]] = {}
    for group in groups:
        for name, note in group.get("role_notes", {}).items():
            by_note.setdefault(note, []).append(name)
    for note, names in by_note.items():
        patterns = _by_pattern(names)
        shown = (pattern if len(alike) > 1 else alike[0] for pattern, alike in patterns.items())
        yield f"{', '.join(shown)}: {note}."


def _decay_per_step(group: Mapping[str, Any]) -> str:
    if group.keys() >= {"reference_lr", "reference_momentum", "nesterov"}:
        return f"{float(decay_of(group)):.3g}"
    # Before the groups are in an optimizer they are at their reference, where all rules agree.
    is_known = group.get("weight_decay") is not None and group.get("steady_norm_sq") is None
    return f"{float(group['lr']) * float(group['weight_decay']):.3g}" if is_known else ""


def _norm_name(norm: Any) -> str:
    if isinstance(norm, Mapping):
        return f"{norm['name']}({', '.join(f'{key}={value}' for key, value in norm.items() if key != 'name')})"
    return str(norm)


def _by_pattern(names: Iterable[str]) -> dict[str, list[str]]:
    """Return names by the pattern that replaces their numbers by stars, such as blocks.*.mlp.up.weight."""
    patterns: dict[str, list[str]] = {}
    for name in names:
        patterns.setdefault(re.sub(r"(?<=\.)\d+(?=\.)", "*", name), []).append(name)
    return patterns
