"""Hyperparameters of one weight, and the steady state that they predict."""

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
        optimizer: what is known of it; None where nothing is.
        group: plain values as in an optimizer's group, at the lr that the prediction is for.
        lr_source: where that lr comes from, for the reader; empty where it was given.
        lr_in_file: where it is another than the group's here.
        refusal: why there is no prediction; empty where there is one.
    """

    optimizer: KnownOptimizer | None
    group: Mapping[str, Any]
    lr_source: str = ""
    lr_in_file: float | None = None
    refusal: str = ""

    @property
    def decay(self) -> float:
        """η, per step; NaN without a prediction."""
        return math.nan if self.refusal else applied_decay(self.group, self.known)

    @property
    def memory(self) -> float:
        """Steps after which the squared norm has forgotten its start to 1/e."""
        return math.nan if self.refusal else time_constant(self.decay)

    def predicted_norm(self, shape: tuple[int, ...]) -> float:
        """‖θ‖_F at the steady state; NaN where there is no prediction."""
        return math.nan if self.refusal else math.sqrt(predicted_norm_sq(self.group, shape, self.known))

    @property
    def falls_with_lr(self) -> bool:
        """Whether the lr has fallen since its peak under a constant weight_decay, and the steady state with it."""
        is_constant = self.group.get("decay", "constant") == "constant"
        return is_constant and self.lr_in_file is not None and self.lr_in_file < self.group["lr"]

    @property
    def title(self) -> str:
        """Optimizer and role, as far as the group has one."""
        name = "unknown optimizer" if self.optimizer is None else self.optimizer.title
        return " ".join(filter(None, (name, str(self.group.get("role", "")))))

    @property
    def known(self) -> KnownOptimizer:
        """The optimizer, where there is no refusal."""
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
    """The settings, with a refusal where they predict nothing for a weight of this shape, whatever a file may hold."""
    if settings.refusal:
        return settings
    try:
        if settings.decay == 0:
            return _refused(settings, "no decay")
        _ = settings.memory, settings.text
        is_known = math.isfinite(settings.predicted_norm(shape))
    # A norm of matrices for a vector ends in any of these; so do the values of a foreign file.
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
