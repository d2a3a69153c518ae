"""Whether 20 steps on 1, 2, 4 and 8 ranks end with the weights of one process.

    python benchmarks/steps_on_ranks.py            # minutes on two cores; writes benchmarks/results/steps_on_ranks.json
    python benchmarks/steps_on_ranks.py --ranks 8  # other numbers of ranks

Each number of ranks is a run of its own under torchrun (gloo, one thread each). Rank 0 compares whole weights.
"""

import argparse
import gc
import json
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

import torch
import torch.distributed as dist
from ranked_cases import (
    CASES,
    EXPERTS,
    FEW_CASES,
    FEW_LAYOUTS,
    FEW_STRATEGIES,
    STRATEGIES,
    Case,
    expert_layouts,
    layouts,
    norms_of,
    scion,
    stepped,
    trained_gpt,
    whole,
)
from torch import Tensor

from steadydecay.bench.machine import Circumstances, circumstances

RESULT = Path(__file__).parent / "results" / "steps_on_ranks.json"
RANKS = (1, 2, 4, 8)
# Of floats of the same bytes, as numbers in order.
INTEGERS = {torch.bfloat16: torch.int16, torch.float32: torch.int32, torch.float64: torch.int64}


@final
@dataclass(frozen=True)
class Difference:
    """How far the weights of several ranks are from those of one process.

    Args:
        ranks: how many.
        case, layout: of `ranked_cases`; the case "GPT" is trained under a strategy.
        ulps: of the entry that is farthest, among weights whose entries need nothing but themselves; None without any.
        relative: of the weight that is farthest among the others: ‖difference‖ ÷ ‖weight‖; None without any.
    """

    ranks: int
    case: str
    layout: str
    ulps: int | None
    relative: float | None

    @property
    def is_within(self) -> bool:
        """What issue 16 asks for; no bit may differ in bfloat16, and rounding alone in float64."""
        limit = {"GPT": 1e-9, "float64": 1e-12}.get(self.case, 1e-6)
        if CASES.get(self.case, Case(scion())).dtype == torch.bfloat16:
            limit = 0
        return (self.ulps or 0) <= 1 and (self.relative or 0.0) <= limit


@final
@dataclass(frozen=True)
class Result(Circumstances):
    """What the benchmark found."""

    seconds: dict[str, float]
    differences: list[Difference]


def differences(*, is_short: bool = False) -> list[Difference]:
    """Of all cases on these ranks, which all call it; only rank 0 gets them, and only it takes the steps of one alone.

    Args:
        is_short: a few cases that take every path of the step.
    """
    found: list[Difference] = []
    cases = {name: (CASES[name], layouts()) for name in (FEW_CASES if is_short else CASES)}
    cases["experts"] = (Case(scion(), shapes=EXPERTS), expert_layouts())
    for name, (case, places) in cases.items():
        alone = stepped(case, Tensor.clone) if dist.get_rank() == 0 else []
        for layout, place in places.items():
            if is_short and layout not in FEW_LAYOUTS:
                continue
            given = (Tensor.clone, dist.group.WORLD) if place is None else (place, None)
            weights = list(map(whole, stepped(case, *given)))
            if alone:
                found.append(_difference(name, layout, case, weights, alone))
    gpt = trained_gpt(None) if dist.get_rank() == 0 else []
    for strategy in FEW_STRATEGIES if is_short else STRATEGIES:
        weights = list(map(whole, trained_gpt(strategy)))
        if gpt:
            found.append(Difference(dist.get_world_size(), "GPT", strategy, None, _relative(weights, gpt)))
    return found


def _difference(name: str, layout: str, case: Case, ones: Sequence[Tensor], others: Sequence[Tensor]) -> Difference:
    is_elementwise = [case.is_elementwise or norm == "sign" for norm in norms_of(case)]
    pairs = list(zip(ones, others, is_elementwise, strict=True))
    ulps = [_ulps(one, other) for one, other, is_alone in pairs if is_alone]
    rest = [(one, other) for one, other, is_alone in pairs if not is_alone]
    relative = _relative(*zip(*rest, strict=True)) if rest else None
    return Difference(dist.get_world_size(), name, layout, max(ulps, default=None), relative)


def _relative(ones: Iterable[Tensor], others: Iterable[Tensor]) -> float:
    pairs = ((one.double(), other.double()) for one, other in zip(ones, others, strict=True))
    return max(float((one - other).norm() / other.norm()) for one, other in pairs)


def _ulps(one: Tensor, other: Tensor) -> int:
    """Floats between the two, in the entry with the most of them."""
    steps = [
        torch.where(bits < 0, torch.iinfo(bits.dtype).min - bits, bits).double()
        for bits in (tensor.contiguous().view(INTEGERS[tensor.dtype]) for tensor in (one, other))
    ]
    return int((steps[0] - steps[1]).abs().max())


def work(out: Path, *, is_short: bool = False) -> None:
    """One of the processes."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    found = [asdict(one) for one in differences(is_short=is_short)]
    if dist.get_rank() == 0:
        out.write_text(json.dumps(found), encoding="utf-8")
    # FSDP's reference cycles may outlive the process group, which then aborts.
    gc.collect()
    dist.barrier()
    dist.destroy_process_group()


def launched(ranks: int) -> list[Difference]:
    """What such processes find."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
        subprocess.run([*launcher, __file__, "--worker", str(out)], check=True)
        return [Difference(**one) for one in json.loads(out.read_text(encoding="utf-8"))]


def read_result(path: Path = RESULT) -> Result:
    """The committed result."""
    fields = json.loads(path.read_text(encoding="utf-8"))
    return Result(**{**fields, "differences": [Difference(**one) for one in fields["differences"]]})


def table(found: Sequence[Difference]) -> str:
    """The farthest of all layouts, by case."""
    ranks = sorted({one.ranks for one in found})
    columns = [f"ulps, {number} | relative, {number}" for number in ranks]
    lines = [f"| case | {' | '.join(columns)} |", f"|---|{'---|' * 2 * len(ranks)}"]
    for case in dict.fromkeys(one.case for one in found):
        cells = []
        for number in ranks:
            of_case = [one for one in found if one.case == case and one.ranks == number]
            ulps = [one.ulps for one in of_case if one.ulps is not None]
            relative = [one.relative for one in of_case if one.relative is not None]
            cells += [str(max(ulps)) if ulps else "–", f"{max(relative):.1e}" if relative else "–"]
        lines.append(f"| {case} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, nargs="+", default=list(RANKS))
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker)
        return
    found: list[Difference] = []
    seconds: dict[str, float] = {}
    for ranks in options.ranks:
        start = time.monotonic()
        found += launched(ranks)
        seconds[str(ranks)] = round(time.monotonic() - start, 1)
    command = shlex.join(["python", "benchmarks/steps_on_ranks.py", *sys.argv[1:]])
    made = circumstances(command, torch.device("cpu"), ["steadydecay", "torch"])
    result = Result(seconds=seconds, differences=found, **made)
    options.out.write_text(json.dumps(asdict(result), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(table(found))
    for one in found:
        if not one.is_within:
            print(f"not within its limit: {one}")


if __name__ == "__main__":
    main()
