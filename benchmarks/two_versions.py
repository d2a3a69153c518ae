"""Print how long optimizer steps take under this version ÷ under another one, whose source stands in a folder.

    git worktree add ../before REVISION
    python benchmarks/two_versions.py --other ../before/src
    python benchmarks/two_versions.py --other ../before/src --set gpt2-small --optimizer ScionC --layers 2 --float32

Each version runs in a process of its own. They take turns step by step, and after each step's ratio the order changes.
Printed are the median ratio, its quartiles, and the ratio of the fastest steps, once for elapsed time and once for
processor time. Where other programs use the same cores, only the second tells the versions apart, and that best with
OMP_NUM_THREADS=1, since threads that wait for one another may spin.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from steadydecay.bench.contender_weights import zero_weights
from steadydecay.bench.shape_sets import SHAPE_SETS

HERE = Path(__file__).parent.parent / "src"
WARM_UP = 2
# What a worker answers, in seconds.
CLOCKS = ("elapsed time", "processor time")
# It imports public names alone, so that it runs under every version.
WORKER = """
import json, sys, time, torch
import steadydecay as sd

task = json.loads(sys.stdin.readline())
if task["float32"]:
    from steadydecay.polar import choice
    choice.HAS_FAST_BFLOAT16 = False
generator = torch.Generator().manual_seed(0)
groups = []
for norm, shapes in task["groups"]:
    parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in shapes]
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    groups.append({"params": parameters} | ({"norm": norm} if task["optimizer"] == "ScionC" else {}))
optimizer = getattr(sd, task["optimizer"])(groups, lr=0.01, weight_decay=0.1)
other_work = torch.randn(1024, 1024)
print(sd.__file__, flush=True)
for _ in sys.stdin:
    (other_work @ other_work).sum()
    began, began_on_processor = time.perf_counter(), time.process_time()
    optimizer.step()
    print(time.perf_counter() - began, time.process_time() - began_on_processor, flush=True)
"""


def main() -> None:
    arguments = parsed_arguments()
    sources = {"this": HERE, "other": arguments.other.resolve()}
    workers = {name: started(source, arguments) for name, source in sources.items()}
    seconds: dict[str, list[list[float]]] = {name: [] for name in workers}
    for repetition in range(arguments.repetitions + WARM_UP):
        for name in list(workers)[:: 1 if repetition % 2 else -1]:
            took = list(map(float, asked(workers[name], "step").split()))
            if repetition >= WARM_UP:
                seconds[name].append(took)
    for clock, this, other in zip(
        CLOCKS, zip(*seconds["this"], strict=True), zip(*seconds["other"], strict=True), strict=True
    ):
        print(f"{arguments.set} {arguments.optimizer}, {clock}: {compared(this, other)}")


def compared(this: Sequence[float], other: Sequence[float]) -> str:
    ratios = [one / another for one, another in zip(this, other, strict=True)]
    low, median, high = statistics.quantiles(ratios, n=4)
    return f"{median:.3f} ({low:.3f} to {high:.3f}), of the fastest {min(this) / min(other):.3f}"


def parsed_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--other", type=Path, required=True, help="the folder src/ of the other version")
    parser.add_argument("--set", choices=SHAPE_SETS, default="gpt-mini", help="the shapes of which model")
    parser.add_argument("--layers", type=int, help="of the model, if not all")
    parser.add_argument("--optimizer", choices=["ScionC", "AdamC", "Lion"], default="ScionC")
    parser.add_argument("--float32", action="store_true", help="no bfloat16 products, as on CPUs without them")
    parser.add_argument("--repetitions", type=int, default=12)
    return parser.parse_args()


def started(source: Path, arguments: argparse.Namespace) -> subprocess.Popen[str]:
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER],
        env=os.environ | {"PYTHONPATH": str(source)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    task = {"groups": groups_of(arguments), "optimizer": arguments.optimizer, "float32": arguments.float32}
    imported = asked(worker, json.dumps(task))
    if not Path(imported).is_relative_to(source):
        raise SystemExit(f"--other is {source}, but steadydecay was imported from {imported}; legal is its folder src/")
    return worker


def asked(worker: subprocess.Popen[str], line: str) -> str:
    assert worker.stdin is not None and worker.stdout is not None
    print(line, file=worker.stdin, flush=True)
    return worker.stdout.readline().strip()


def groups_of(arguments: argparse.Namespace) -> list[tuple[str, list[list[int]]]]:
    weights = zero_weights(SHAPE_SETS[arguments.set].entries(arguments.layers), torch.device("cpu"))
    kinds = {"spectral": weights.matrices, "sign": weights.tables, "bias": weights.vectors}
    return [(norm, [list(weight.shape) for weight in of_kind]) for norm, of_kind in kinds.items() if of_kind]


if __name__ == "__main__":
    main()
