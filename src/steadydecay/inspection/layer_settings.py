"""The hyperparameters of one weight, and the steady state that they predict."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, final

from steadydecay.groups.prediction import applied_decay, predicted_norm_sq
from steadydecay.known_optimizers.known_optimizer import KnownOptimizer
from steadydecay.known_optimizers.update_momentum import NO_MOMENTUM
from steadydecay.theory import time_constant


@final
@dataclass(frozen=True)
class LayerSettings:
    """What moves a weight.

    Attributes:
        optimizer: What is known about the optimizer, or None.
        group: Plain values as in an optimizer's group, with the learning rate that the prediction is for.
        lr_source: Where that learning rate comes from, in words; "" if it was given.
        lr_in_file: The learning rate in the file, if it differs from the group's here.
        refusal: The reason why there is no prediction, or "".
    """

    optimizer: KnownOptimizer | None
    group: Mapping[str, Any]
    lr_source: str = ""
    lr_in_file: float | None = None
    refusal: str = ""

    @property
    def decay(self) -> float:
        """η per step, or NaN without a prediction."""
        return math.nan if self.refusal else applied_decay(self.group, self.known)

    @property
    def memory(self) -> float:
        """The number of steps after which the squared norm has forgotten its start to 1/e."""
        return math.nan if self.refusal else time_constant(self.decay)

    def predicted_norm(self, shape: tuple[int, ...]) -> float:
        """Return ‖θ‖_F at the steady state, or NaN without a prediction."""
        return math.nan if self.refusal else math.sqrt(predicted_norm_sq(self.group, shape, self.known))

    @property
    def falls_with_lr(self) -> bool:
        """Whether the lr has fallen since its peak under a constant weight_decay, and the steady state with it."""
        is_constant = self.group.get("decay", "constant") == "constant"
        return is_constant and self.lr_in_file is not None and self.lr_in_file < self.group["lr"]

    @property
    def title(self) -> str:
        """The optimizer, and the role if the group has one."""
        name = "unknown optimizer" if self.optimizer is None else self.optimizer.title
        return " ".join(filter(None, (name, str(self.group.get("role", "")))))

    @property
    def known(self) -> KnownOptimizer:
        """The optimizer, if there is no refusal."""
        assert self.optimizer is not None
        return self.optimizer

    @property
    def text(self) -> str:
        """One line for the reader: "Scion hidden: lr 0.03 (max_lr, the peak; 0 in the file), decay 0.015 ..."."""
        if self.refusal:
            return f"{self.title}: no prediction, {self.refusal}"
        source = f" ({self.lr_source})" if self.lr_source else ""
        rule = f" ({self.group['decay']})" if "decay" in self.group else ""
        parts = [f"lr {self.group['lr']:.4g}{source}", f"decay {self.decay:.3g} per step{rule}"]
        has_momentum = self.known.momentum is not NO_MOMENTUM
        parts += [f"momentum {_number(self.known.read(self.group))}"] if has_momentum else []
        parts += [f"{_norm_name(self.group['norm'])} norm"] if "norm" in self.group else []
        return f"{self.title}: {', '.join(parts)}, memory {self.memory:,.0f} steps"


def checked_settings(settings: LayerSettings, shape: tuple[int, ...]) -> LayerSettings:
    """Return the settings, with a refusal if they predict nothing for a weight of this shape."""
    if settings.refusal:
        return settings
    try:
        if settings.decay == 0:
            return _refused(settings, "no decay")
        _ = settings.memory, settings.text
        is_known = math.isfinite(settings.predicted_norm(shape))
    # A matrix norm applied to a vector may raise any of these, and so may the values of a foreign file.
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        return _refused(settings, f"values out of range ({error})")
    return settings if is_known else _refused(settings, "the size of its updates depends on the gradients")


def _refused(settings: LayerSettings, reason: str) -> LayerSettings:
    return replace(settings, refusal=reason)


def _number(momentum: Any) -> str:
    values = momentum if isinstance(momentum, tuple | list) else (momentum,)
    return " and ".join(f"{float(value):.4g}" for value in values)


def _norm_name(norm: Any) -> str:
    return str(norm["name"]) if isinstance(norm, Mapping) else str(norm)
