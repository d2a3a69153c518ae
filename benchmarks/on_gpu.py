"""Run every check and measurement that needs a GPU, in under ten minutes, and write the results that docs are made of.

    python benchmarks/on_gpu.py

It needs a checkout, a CUDA build of torch, triton and pytest; the network is not used. Each task is a process with a
limit of its own, so that one that fails or hangs costs no other its turn. What they print goes to the terminal and to
benchmarks/results/on_gpu.txt, after the name of the device; results of `bench` and `end_to_end` lie beside it. The exit
status is the number of tasks that failed.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, TextIO

import torch

ROOT = Path(__file__).parents[1]
RECORD = Path("benchmarks/results/on_gpu.txt")
BENCH_RESULT = "benchmarks/results/step_{}_cuda.json"
RIVALS = ("scionc*", "torch-*", "pytorch-optimizer-*", "adamc*", "lion")


class Task(NamedTuple):
    """Arguments of Python, and the seconds after which they are stopped."""

    arguments: list[str]
    limit: float


def bench(shape_set: str, *options: str) -> list[str]:
    out = ["--out", BENCH_RESULT.format(shape_set)]
    return ["-m", "steadydecay.cli", "bench", "--set", shape_set, "--device", "cuda", *options, *out]


# Limits add up to less than ten minutes. Sides of 2048, from which on Triton's kernel can be asked for, are llama-1b's.
TASKS: dict[str, Task] = {
    "tests": Task(["-m", "pytest", "-q", "gpu_tests"], 150),
    "step of gpt2-small": Task(bench("gpt2-small", "--only", *RIVALS), 90),
    "step of llama-1b": Task(bench("llama-1b", "--layers", "4", "--only", "scionc*", "torch-muon"), 90),
    "monitor": Task(["benchmarks/watch_cost.py", "--size", "124m", "--rows", "16", "--device", "cuda"], 60),
    "share of training, 124m": Task(["benchmarks/end_to_end.py", "124m", "--rows", "16", "--device", "cuda"], 100),
    "share of training, s16": Task(["benchmarks/end_to_end.py", "s16", "--rows", "256", "--device", "cuda"], 70),
    "docs/benchmarks.md": Task(["benchmarks/step.py"], 10),
    "docs/scaling.md": Task(["benchmarks/scaling_page.py", "--keep-many-gpus"], 20),
}


def run(tasks: Mapping[str, Task], record: TextIO) -> list[str]:
    """Run each task in the checkout's root.

    Args:
        tasks: by name.
        record: gets what they print, as the terminal does.

    Returns:
        Names of those that failed.
    """
    failed = []
    for name, task in tasks.items():
        began = time.perf_counter()
        error = error_of(task, record)
        say(f"== {name}: {error or 'done'} after {time.perf_counter() - began:.0f} s", record)
        failed += [name] if error else []
    return failed


def error_of(task: Task, record: TextIO) -> str:
    """Run it; why it failed, or nothing."""
    source = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(
        # A limit of the system, for a process that waits for the GPU may not answer.
        ["timeout", "--kill-after=5", str(task.limit), sys.executable, *task.arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": source, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        say(line.rstrip("\n"), record)
    status = process.wait()
    return {0: "", 124: f"stopped at its limit of {task.limit:g} s"}.get(status, f"exit status {status}")


def say(line: str, record: TextIO) -> None:
    print(line, flush=True)
    print(line, file=record, flush=True)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    if not torch.cuda.is_available():
        sys.exit("torch finds no GPU; this script is for machines with one (make test needs none)")
    with (ROOT / RECORD).open("w", encoding="utf-8") as record:
        say(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, CUDA {torch.version.cuda}", record)
        failed = run(TASKS, record)
        say(f"failed: {', '.join(failed) or 'none'}", record)
    sys.exit(len(failed))


if __name__ == "__main__":
    main()
