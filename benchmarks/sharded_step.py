"""Count and time one optimizer step whose weights are shared by real processes, beside torch.optim.Muon's.

    python benchmarks/sharded_step.py             # minutes on two cores; writes benchmarks/results/sharded_step.json
    python benchmarks/sharded_step.py --layers 4  # more layers of gpt2-small in the counts

Each number of processes is a run of its own under torchrun (gloo, one thread each). Counts are of one step: what
torch.distributed is asked for, the products of the LMOs by the plain form, state, and temporaries under the profiler.
Times of one and of two processes are taken in turn in the same two processes: in the turns of one, the other waits.
"""

import argparse
import gc
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import torch
import torch.distributed as dist
from sharded_counts import COUNTED_SET, CPU, Count, count, counts_table, faults
from sharded_weights import OPTIMIZERS, STRATEGIES, built, stepped, weights_of
from torch.optim import Optimizer

from steadydecay.bench.machine import Circumstances, circumstances
from steadydecay.bench.result_table import three_digits
from steadydecay.bench.shape_sets import SHAPE_SETS
from steadydecay.bench.timing import seconds

RESULT = Path(__file__).parent / "results" / "sharded_step.json"
COUNTED_RANKS = (2, 4, 8)
# By shape set, how many layers: the whole of gpt-mini, as much of gpt2-small as leaves room for others.
TIMED = {"gpt-mini": 6, "gpt2-small": 2}


@final
@dataclass(frozen=True)
class Timing:
    """Seconds of a step by repetition, of one process and of two, in turn.

    Args:
        shape_set, layers, optimizer: what steps.
        times: by strategy; "one process" beside those of two.
    """

    shape_set: str
    layers: int
    optimizer: str
    times: dict[str, list[float]]


@final
@dataclass(frozen=True)
class Result(Circumstances):
    """What the benchmark found."""

    counts: list[Count]
    timings: list[Timing]


def timing(shape_set: str, layers: int, name: str, repetitions: int) -> Timing:
    """One process steps the whole model, then both share it; nothing else differs."""
    entries = SHAPE_SETS[shape_set].entries(layers)
    shared = {strategy: built(name, strategy, entries) for strategy in STRATEGIES}
    alone = OPTIMIZERS[name](weights_of(entries, None), None) if dist.get_rank() == 0 else []
    turns = {"one process": alone, **{f"two, {strategy}": of for strategy, of in shared.items()}}
    times: dict[str, list[float]] = {turn: [] for turn in turns}
    for repetition in range(repetitions + 1):
        for turn, optimizers in turns.items():
            dist.barrier()
            taken = seconds(lambda optimizers=optimizers: _until_all(optimizers), CPU)
            if repetition > 0:
                times[turn].append(taken)
    return Timing(shape_set, layers, name, times)


def _until_all(optimizers: Sequence[Optimizer]) -> None:
    stepped(optimizers)
    dist.barrier()


def work(options: argparse.Namespace) -> None:
    """One process under torchrun: counts, or times."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    found: dict[str, Any] = {"counts": [], "timings": []}
    for name in OPTIMIZERS:
        if options.worker == "times":
            for shape_set, layers in TIMED.items():
                found["timings"].append(asdict(timing(shape_set, layers, name, options.repetitions)))
                gc.collect()
            continue
        for strategy in STRATEGIES:
            entries = SHAPE_SETS[COUNTED_SET].entries(options.layers)
            found["counts"].append(asdict(count(name, strategy, entries, options.layers)))
            gc.collect()
    if dist.get_rank() == 0:
        Path(options.out).write_text(json.dumps(found), encoding="utf-8")
    gc.collect()
    dist.barrier()
    dist.destroy_process_group()


def launched(ranks: int, worker: str, options: argparse.Namespace) -> dict[str, Any]:
    """What such processes write."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
        own = [__file__, "--worker", worker, "--out", str(out), "--layers", str(options.layers)]
        subprocess.run([*launcher, *own, "--repetitions", str(options.repetitions)], check=True)
        return json.loads(out.read_text(encoding="utf-8"))


def read_result(path: Path = RESULT) -> Result | None:
    """The committed result, if there is one."""
    if not path.exists():
        return None
    fields = json.loads(path.read_text(encoding="utf-8"))
    counts = [Count(**one) for one in fields["counts"]]
    return Result(**{**fields, "counts": counts, "timings": [Timing(**one) for one in fields["timings"]]})


def times_table(timings: Sequence[Timing]) -> str:
    turns = list(timings[0].times)
    lines = [
        f"| model | layers | optimizer | {', ms | '.join(turns)}, ms | {' | '.join(f'{t} ÷ one' for t in turns[1:])} |",
        f"|---|---|---|{'---|' * (2 * len(turns) - 1)}",
    ]
    for one in timings:
        alone = one.times[turns[0]]
        milliseconds = [three_digits(1000 * statistics.median(one.times[turn])) for turn in turns]
        ratios = [
            f"{statistics.median(own / whole for own, whole in zip(one.times[turn], alone, strict=True)):.2f}"
            for turn in turns[1:]
        ]
        cells = [one.shape_set, str(one.layers), one.optimizer, *milliseconds, *ratios]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=1, help="of gpt2-small, in the counts")
    parser.add_argument("--ranks", type=int, nargs="+", default=list(COUNTED_RANKS))
    parser.add_argument("--repetitions", type=int, default=7, help="of the timed steps")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--worker", choices=("counts", "times"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options)
        return
    runs = [launched(ranks, "counts", options) for ranks in options.ranks]
    counts = [Count(**one) for run in runs for one in run["counts"]]
    timings = [Timing(**one) for one in launched(2, "times", options)["timings"]]
    command = shlex.join(["python", "benchmarks/sharded_step.py", *sys.argv[1:]])
    result = Result(counts=counts, timings=timings, **circumstances(command, CPU, ["steadydecay", "torch"]))
    options.out.write_text(json.dumps(asdict(result), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(counts_table(counts), times_table(timings), *faults(counts), sep="\n\n")


if __name__ == "__main__":
    main()
