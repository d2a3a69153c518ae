"""Find parameters that the authors of a model want to exclude from weight decay."""

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from torch import Tensor, nn

from steadydecay.groups.places import Place, plain_name

# Mamba uses the first of these marks; Megatron and others have their own spelling.
MARK = re.compile(r"_?no_(weight_decay|wd|decay)(_\w+)?")
# Dicts of settings on a parameter, as in S4, and fairseq's `weight_decay_scale`.
SETTINGS = ("_optim", "optim_overrides")
# Mamba's and S4's dynamics and RWKV's time constants. "D" and "A" count only beside one of these.
STATE_SPACE = re.compile(
    r"A_log\w*|log_A\w*|(inv_)?A_(re|im|real|imag)|(log|inv)_dt|dt_bias|nu_log|theta_log|gamma_log"
    r"|time_(decay|first|faaaa|mix_[a-z]+|maa_[a-z]+)"
)
BESIDE_STATE_SPACE = {"A", "D"}


def undecayed(model: nn.Module, places: Iterable[Place]) -> dict[str, str]:
    """Return the reason why a parameter should have no decay, by its name. Other parameters are omitted.

    The reason is a mark on the parameter (`_no_weight_decay`), a setting on it (`_optim`), the `no_weight_decay()` or
    `no_weight_decay_keywords()` of the model or of a module in it (timm), or the name of a state-space model's dynamics
    (Mamba).
    """
    places = list(places)
    asked = dict(_asked_by_modules(model, places))
    reasons = {}
    for place in places:
        reason = _mark(place.parameter) or asked.get(place.name) or _of_state_space(place)
        if reason:
            reasons[place.name] = reason
    return reasons


def is_state_space(place: Place) -> bool:
    """Return whether a parameter belongs to the dynamics of a state-space model, each entry of which acts alone."""
    if place.tensor in BESIDE_STATE_SPACE:
        return any(STATE_SPACE.fullmatch(name) for name in place.owner._parameters)
    return STATE_SPACE.fullmatch(place.tensor) is not None


def _of_state_space(place: Place) -> str:
    return "because its name is that of state-space dynamics" if is_state_space(place) else ""


def _mark(parameter: Tensor) -> str:
    for name, value in vars(parameter).items():
        if MARK.fullmatch(name) and _is_set(name, value):
            return f"as the mark {name} asks"
    for name in SETTINGS:
        if _has_zero_decay(getattr(parameter, name, None)):
            return f"as the setting {name} asks"
    return ""


def _is_set(name: str, value: Any) -> bool:
    # A scale of the decay excludes a parameter if it is 0, and a flag if it is true.
    return value == 0 if name.endswith("_scale") and not isinstance(value, bool) else bool(value)


def _has_zero_decay(settings: Any) -> bool:
    if not isinstance(settings, dict):
        return False
    nested = any(_has_zero_decay(value) for value in settings.values())
    return nested or any(settings.get(key) == 0 for key in ("weight_decay", "weight_decay_scale"))


def _asked_by_modules(model: nn.Module, places: Iterable[Place]) -> Iterator[tuple[str, str]]:
    """Yield names of parameters and the method that excludes them; a module answers in its own names."""
    for path, module in model.named_modules():
        exact, keywords = _answer(module, "no_weight_decay"), _answer(module, "no_weight_decay_keywords")
        prefix = f"{path}." if path else ""
        for place in places if exact or keywords else ():
            own = place.name.removeprefix(prefix)
            if not place.name.startswith(prefix):
                continue
            if own in exact or plain_name(own) in exact:
                yield place.name, "as the model's no_weight_decay() asks"
            elif any(keyword in own for keyword in keywords):
                yield place.name, "as the model's no_weight_decay_keywords() asks"


def _answer(module: nn.Module, name: str) -> Collection[str]:
    found = getattr(module, name, ())
    answer = found() if callable(found) else found
    return answer if isinstance(answer, Collection) and not isinstance(answer, str) else ()
