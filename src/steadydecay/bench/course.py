"""One group of contenders side by side: each is examined alone, then all step in turn."""

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import NamedTuple, final

import torch

from steadydecay.bench.contender import Contender
from steadydecay.bench.contender_weights import Gradients
from steadydecay.bench.lanes_in_turn import lanes_in_turn
from steadydecay.bench.memory import allocations, state_bytes
from steadydecay.bench.peers import CONTESTANTS, REFERENCE
from steadydecay.bench.product_times import dtypes_of, products_rate
from steadydecay.bench.results import Row
from steadydecay.bench.shape_sets import Entry
from steadydecay.bench.timing import in_turn, seconds
from steadydecay.bench.update_check import UpdateCheck, check_update

OURS = "steadydecay"


class Facts(NamedTuple):
    """What is known about one contender from examining it alone."""

    check: UpdateCheck
    state_bytes: int
    extra_bytes: int
    calls: int


class GroupResult(NamedTuple):
    """The rows of those that took part, the errors of those that could not, and the product rates by dtype."""

    rows: list[Row]
    missing: dict[str, str]
    rates: dict[str, list[float]]


@final
@dataclass(frozen=True)
class Course:
    """What all contenders of a run share."""

    entries: Sequence[Entry]
    gradients: Gradients
    device: torch.device
    repetitions: int
    say: Callable[[str], None]

    def run(self, names: Sequence[str], modules: Mapping[str, ModuleType]) -> GroupResult:
        """Measure these contenders, one of which is the reference."""
        # A garbage collection in the middle of a step would visit everything that was imported, for a quarter of a
        # second.
        gc.collect()
        gc.freeze()
        try:
            return self._run(names, modules)
        finally:
            gc.unfreeze()

    def _run(self, names: Sequence[str], modules: Mapping[str, ModuleType]) -> GroupResult:
        contenders: dict[str, Contender] = {}
        facts: dict[str, Facts] = {}
        missing: dict[str, str] = {}
        for name in names:
            self.say(f"{name}: first steps")
            contender = Contender(CONTESTANTS[name], self.entries, self.gradients.tensors, self.device)
            try:
                facts[name] = self._facts(contender, modules[name])
            except Exception as error:
                if contender.contestant.module == OURS:
                    raise
                missing[name] = one_line(error)
                continue
            contenders[name] = contender
        times, rates = self._times(contenders)
        rows = [row_of(name, times[name], times[REFERENCE], facts[name]) for name in contenders]
        return GroupResult(rows, missing, rates)

    def _facts(self, contender: Contender, module: ModuleType) -> Facts:
        norms = self._gradient_norms()
        first = partial(contender.start, module)
        with lanes_in_turn():
            *_, step = allocations([first, contender.step_from_zero], self.device)
        check = check_update(contender.weights, self.gradients.known, contender.contestant.is_spectral)
        if self._gradient_norms() != norms:
            check.faults.append("writes to its gradients")
        held = state_bytes(contender.optimizers)
        return Facts(check, held, max(0, step.peak - contender.given_bytes() - held), step.calls)

    def _gradient_norms(self) -> list[float]:
        """Return the norms of the gradients that all share."""
        return [float(gradient.norm()) for gradient in self.gradients.tensors]

    def _times(self, contenders: Mapping[str, Contender]) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
        times: dict[str, list[float]] = {name: [] for name in contenders}
        rates: dict[str, list[float]] = {str(dtype).removeprefix("torch."): [] for dtype in dtypes_of(self.device)}
        works = {name: lambda one=one: self._timed_step(one) for name, one in contenders.items()}
        gc.collect()
        for repetition, taken in enumerate(in_turn(works, self.repetitions), start=1):
            for name, duration in taken.items():
                times[name].append(duration)
            for dtype in dtypes_of(self.device):
                rates[str(dtype).removeprefix("torch.")].append(products_rate(dtype, self.device))
            self.say(f"repetition {repetition} of {self.repetitions}")
        return times, rates

    def _timed_step(self, contender: Contender) -> float:
        contender.give_gradients()
        return seconds(contender.step, self.device)


def row_of(name: str, times: list[float], reference_times: list[float], facts: Facts) -> Row:
    check = facts.check
    return Row(
        name=name,
        times=times,
        reference_times=reference_times,
        state_bytes=facts.state_bytes,
        extra_bytes=facts.extra_bytes,
        calls=facts.calls,
        polar_errors=check.polar_errors,
        singular_values=check.singular_values,
        faults=check.faults,
    )


def one_line(error: BaseException) -> str:
    """Return the type and the first line of the message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
