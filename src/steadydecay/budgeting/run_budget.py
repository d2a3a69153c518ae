"""Compute what a run takes from the counts of its model and its optimizer."""

import math
from dataclasses import dataclass, field
from typing import final

FLOPS_PER_MULTIPLICATION = 2
SECONDS_PER_HOUR = 3600


@final
@dataclass(frozen=True)
class DeviceShare:
    """What the busiest of several devices holds and computes.

    Attributes:
        devices: The number of devices that share the run.
        weight_bytes, gradient_bytes, state_bytes: The memory held from step to step.
        temporary_bytes: The additional memory of the optimizer's step, at most at one time; None if it is not counted.
        activation_bytes: An estimate of what the forward pass keeps for the backward pass, or None.
        multiplications: The multiplications in the matrix products of the optimizer's step.
    """

    devices: int
    weight_bytes: int
    gradient_bytes: int
    state_bytes: int
    temporary_bytes: int | None
    activation_bytes: int | None
    multiplications: int

    @property
    def most_bytes(self) -> int:
        """The largest memory in use at one time. Activations are freed before the optimizer steps.

        >>> DeviceShare(1, 4, 4, 8, temporary_bytes=3, activation_bytes=10, multiplications=0).most_bytes
        26
        """
        held = self.weight_bytes + self.gradient_bytes + self.state_bytes
        return held + max(self.temporary_bytes or 0, self.activation_bytes or 0)


@final
@dataclass(frozen=True)
class RunBudget:
    """What a run takes.

    Attributes:
        label: The name of the run.
        parameters: The number of parameters of each role.
        steps: The number of optimizer steps.
        examples: The number of examples per step.
        items: The unit in which the data are counted, in the plural.
        items_per_example: The number of items in an example.
        epoch_examples: The number of examples in the training data, or None if the recipe does not say.
        flops_per_example: The FLOPs of a forward and a backward pass.
        multiplications: The multiplications in the matrix products of one optimizer step.
        checkpoint_bytes: The size of one checkpoint on disk.
        checkpoints: The number of checkpoints that are kept.
        shares: The share of a device, by number of devices.
        notes: The assumptions.
    """

    label: str
    parameters: dict[str, int]
    steps: int
    examples: int
    items: str
    items_per_example: int
    epoch_examples: int | None
    flops_per_example: float
    multiplications: int
    checkpoint_bytes: int
    checkpoints: int
    shares: tuple[DeviceShare, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def all_items(self) -> int:
        return self.steps * self.examples * self.items_per_example

    @property
    def epochs(self) -> float | None:
        return self.steps * self.examples / self.epoch_examples if self.epoch_examples else None

    @property
    def model_flops(self) -> float:
        return self.steps * self.examples * self.flops_per_example

    @property
    def optimizer_flops(self) -> float:
        return self.steps * FLOPS_PER_MULTIPLICATION * self.multiplications

    @property
    def all_flops(self) -> float:
        return self.model_flops + self.optimizer_flops

    @property
    def optimizer_share(self) -> float:
        """The optimizer's share of all FLOPs."""
        return self.optimizer_flops / self.all_flops if self.all_flops else 0.0


def step_seconds(measured_step: float, measured_optimizer: float, measured_items: int, items: int) -> float:
    """Return the seconds of a step with another batch: the model's time scales with the batch, the optimizer's does
    not.

    >>> step_seconds(measured_step=3.0, measured_optimizer=1.0, measured_items=10, items=40)
    9.0
    """
    return (measured_step - measured_optimizer) / measured_items * items + measured_optimizer


def hours_at_pace(steps: int, seconds_per_step: float, devices: int, measured_devices: int = 1) -> float:
    """Return the hours of a run if the speed is proportional to the number of devices.

    >>> hours_at_pace(7200, seconds_per_step=1.0, devices=8, measured_devices=2)
    0.5
    """
    return steps * seconds_per_step * measured_devices / devices / SECONDS_PER_HOUR


def hours_at_flops(budget: RunBudget, share: DeviceShare, flops_per_second: float) -> float:
    """Return the busiest device's hours if all products run at one rate. The model's products are shared evenly.

    Args:
        budget: The budget of the run.
        share: The share of a device, including its products of the optimizer.
        flops_per_second: The FLOP/s that a device reaches.
    """
    of_optimizer = budget.steps * FLOPS_PER_MULTIPLICATION * share.multiplications
    return (budget.model_flops / share.devices + of_optimizer) / flops_per_second / SECONDS_PER_HOUR


def time_share(budget: RunBudget, share: DeviceShare) -> float:
    """Return the optimizer's share of the time according to `hours_at_flops`."""
    of_optimizer = budget.steps * FLOPS_PER_MULTIPLICATION * share.multiplications
    whole = budget.model_flops / share.devices + of_optimizer
    return of_optimizer / whole if whole else 0.0


def in_units(number: float, unit: str = "") -> str:
    """Format a number with three digits and a prefix; 0 has no prefix.

    >>> in_units(123_568_128), in_units(8.4e19, "FLOP"), in_units(0, "B"), in_units(999_999, "B")
    ('124 M', '84 EFLOP', '0 B', '1 MB')
    """
    prefixes = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")
    power = 0 if number < 1 else min(len(prefixes) - 1, int(math.log10(number)) // 3)
    # With three digits, 999,999 is 1.00 of the next prefix.
    if float(f"{number / 1000**power:.3g}") >= 1000 and power < len(prefixes) - 1:
        power += 1
    return f"{number / 1000**power:.3g} {prefixes[power]}{unit}".rstrip()


def in_time(hours: float) -> str:
    """Format a time with three digits, in hours from one hour on and otherwise in minutes or seconds.

    >>> in_time(71_949.2), in_time(1.5), in_time(0.5), in_time(0.001)
    ('71,949 h', '1.5 h', '30 min', '3.6 s')
    """
    if hours >= 1:
        return f"{hours:,.0f} h" if hours >= 100 else f"{hours:.3g} h"
    minutes = 60 * hours
    return f"{minutes:.3g} min" if minutes >= 1 else f"{60 * minutes:.3g} s"
