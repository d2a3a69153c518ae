"""Run the core tests on several versions of torch and Python, and write docs/versions.md.

    python benchmarks/versions.py                      # every pair, or what --torch and --python name
    python benchmarks/versions.py --torch 2.9 --python 3.12

uv makes an environment for each pair, out of interpreters that are on PATH and wheels that pip's index has. Rows that
are not run again keep their last result, which benchmarks/results/versions.json holds.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "benchmarks/results/versions.json", ROOT / "docs/versions.md"
TORCHES, PYTHONS = ("2.9", "2.10", "2.11", "2.12", "2.13", "2.14"), ("3.11", "3.12", "3.13")
PAIRS = tuple(product(TORCHES, PYTHONS))
# What needs torch alone and reads its internals, its optimizers' state and its schedulers, in under a minute of one
# core: decay rules, LMOs, steps against the float64 references, state and resuming, torch's own AdamW, references
# and schedules.
TESTS = (
    "tests/theory/test_decay_rules.py",
    "tests/theory/test_no_torch.py",
    "tests/norms/test_norms.py::test_lmo_has_norm_one",
    "tests/norms/test_norms.py::test_lmo_attains_the_dual_norm",
    "tests/optim/test_contract.py::test_equals_the_reference_under_changing_lr_and_momentum",
    "tests/optim/test_contract.py::test_state_exists_from_construction_with_the_keys_and_types_it_keeps",
    "tests/optim/test_contract.py::test_a_run_that_resumes_with_other_numbers_continues_exactly",
    "tests/optim/test_adamc.py",
    "tests/correction/test_references.py",
    "tests/schedules/test_steady_norm.py",
)
NEEDS_TIMM = "tests/correction/test_references.py::test_timms_schedules_peak_at_the_lr_of_the_constructor"
# What these tests import beside torch; playwright is for a fixture that they do not use.
PACKAGES = ("numpy", "pytest", "hypothesis", "mpmath", "playwright", "setuptools")
NOT_RUN = "not run"
HEADER = """\
# Versions

steadydecay supports Python 3.11 and later with torch 2.9 and later. This page shows where its core tests were run.
They cover the theory, the norms, what every optimizer promises, the references of the correction, and the schedules:

{tests}

| torch | Python | result |
|---|---|---|
{rows}

"Not run" means that nobody has run this pair yet. "Not available" means that the interpreter or the wheels could not
be installed on the machine that made the table, and the result gives the reason. The whole test suite runs on torch
2.13 and Python 3.11 before every change.

`make test-versions` runs every pair again and writes this page. To run one pair, use `python benchmarks/versions.py
--torch 2.9 --python 3.12`. [uv](https://docs.astral.sh/uv/) makes an environment for each pair and finds every
interpreter that is on your `PATH`; with pyenv, name them first, as in `pyenv shell 3.11 3.12 3.13`. The wheels of torch
for Linux include CUDA and need about 7 GB per version, which stay in uv's cache until `uv cache clean`. Set
`UV_TORCH_BACKEND=cpu` if your index offers builds for the CPU.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch", nargs="*", choices=TORCHES, default=TORCHES, help="The versions of torch to test.")
    parser.add_argument("--python", nargs="*", choices=PYTHONS, default=PYTHONS, help="The versions of Python to test.")
    asked = parser.parse_args()
    results: dict[str, str] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for torch, python in product(asked.torch, asked.python):
        results[f"{torch} {python}"] = result_of(torch, python)
        print(f"torch {torch}, Python {python}: {results[f'{torch} {python}']}", flush=True)
        RESULTS.write_text(json.dumps(results, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        PAGE.write_text(page(results), encoding="utf-8")


def result_of(torch: str, python: str) -> str:
    """What pytest says in an environment of its own, or why there is none."""
    with tempfile.TemporaryDirectory() as folder:
        make = ["uv", "venv", "--quiet", "--no-python-downloads", "--python", python, "--clear", folder]
        install = ["uv", "pip", "install", "--quiet", "--python", folder, f"torch=={torch}.*", *PACKAGES]
        for command in (make, install):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                return f"not available: {reason(done.stderr)}"
        return tested(f"{folder}/bin/python")


def tested(interpreter: str) -> str:
    """What pytest says with this interpreter, and its versions."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    versions = subprocess.run([interpreter, "-c", SAY_VERSIONS], capture_output=True, text=True, check=True).stdout
    options = ["-q", "-p", "no:cacheprovider", "--disable-warnings", "--deselect", NEEDS_TIMM]
    tests = [interpreter, "-m", "pytest", *options, *TESTS]
    run = subprocess.run(tests, env=environment, cwd=ROOT, capture_output=True, text=True)
    if run.returncode:
        print(run.stdout[-3000:], run.stderr[-1000:], file=sys.stderr)
    summary = (run.stdout.strip().splitlines() or ["no output"])[-1].strip("= ")
    counts = re.sub(r" in .*", "", summary)
    return f"{counts} ({versions.strip()})"


# From what is installed, because importing torch takes seconds.
SAY_VERSIONS = """
import importlib.metadata, platform
print(f"torch {importlib.metadata.version('torch')}, Python {platform.python_version()}")
"""


def reason(message: str) -> str:
    """uv's complaint in one line."""
    lines = [line.strip(" ×╰─▶│") for line in message.strip().splitlines() if line.strip(" ×╰─▶│")]
    return (lines or ["uv said nothing"])[-1][:160].replace("|", "/")


def page(results: dict[str, str]) -> str:
    """The page that shows these results.

    Args:
        results: from "TORCH PYTHON", such as "2.9 3.12", to what came out.
    """
    rows = (f"| {torch} | {python} | {results.get(f'{torch} {python}', NOT_RUN)} |" for torch, python in PAIRS)
    return HEADER.format(tests="\n".join(f"- `{name}`" for name in TESTS), rows="\n".join(rows))


if __name__ == "__main__":
    main()
