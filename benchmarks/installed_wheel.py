"""Install the wheel into empty environments and use it there, away from the repository: `make test-wheel`.

Every environment gets the wheel with the extras that its commands need, and nothing else. pip may take the versions of
requirements.lock from `PIP_CONSTRAINT`, as it does under make.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXTRAS = re.compile(r"steadydecay\[([\w,]+)\]")
FIRST_PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
SMALL = "layers=1 heads=1 width=16 length=16 batch_size=2 evaluation_batches=1"
COMMANDS = (
    f"steadydecay compare gpt --optimizers adamw,scion,scionc --out runs/demo --steps 4 {SMALL}",
    "steadydecay report runs/demo",
    f"steadydecay train gpt --optimizer scionc --out runs/one --steps 4 {SMALL}",
    "steadydecay export runs/one one.safetensors",
    "steadydecay inspect one.safetensors --optimizer scion --lr 0.03 --weight-decay 0.5",
    "steadydecay forecast --shape 768x768:12 --optimizer adamw --lr 6e-4 --weight-decay 0.1 --steps 1000",
    "steadydecay bench --layers 1 --repetitions 1 --only scionc",
)
MODEL = """
import torch
model = torch.nn.Sequential(torch.nn.Embedding(256, 16), torch.nn.Linear(16, 32), torch.nn.Linear(32, 256))
"""
STEPS = """
groups = sd.param_groups(model, "scion", lr=0.01, weight_decay=0.1)
for one in (optimizer, sd.AdamC(model.parameters()), sd.Scion(groups, lr=0.01), sd.ScionC(groups, lr=0.01)):
    model(torch.arange(4)).square().mean().backward()
    one.step()
    one.zero_grad()
print(sd.theory.steady_norm_sq(lr=0.03, decay=0.015, momentum=0.9), sd.__file__)
"""


def main() -> None:
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(ROOT / "examples", folder / "examples")
        build = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
        subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
        failed = [line for extras, commands in uses().items() for line in failures(folder, extras, commands)]
    print(f"{len(failed)} failed in {time.monotonic() - begin:.0f} s", *failed, sep="\n")
    sys.exit(bool(failed))


def uses() -> dict[str, list[str]]:
    """From the extras of an environment to the commands that run in it, an example under the extras that it names."""
    all_uses = {"": [f"python -c {shlex.quote(first_steps())}"], "recipes,report": list(COMMANDS)}
    for path in sorted((ROOT / "examples").glob("*.py")):
        source = path.read_text(encoding="utf-8")
        if "__main__" in source:
            named = EXTRAS.search(source)
            all_uses.setdefault(named[1] if named else "", []).append(f"python ../examples/{path.name} table")
    return all_uses


def first_steps() -> str:
    """README's first block of Python on a small model, and one step of each kind of correction."""
    block = FIRST_PYTHON_BLOCK.search((ROOT / "README.md").read_text(encoding="utf-8"))
    assert block
    return MODEL + block[1] + STEPS


def failures(folder: Path, extras: str, commands: list[str]) -> Iterator[str]:
    """The commands that fail in an empty environment with these extras; each command is shown with its seconds."""
    here = folder / f"environment-{extras or 'torch alone'}"
    venv.create(here, with_pip=True)
    (wheel,) = folder.glob("*.whl")
    install = ["-m", "pip", "install", "--quiet", f"{wheel}[{extras}]" if extras else str(wheel)]
    subprocess.run([here / "bin/python", *install], check=True)
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    for command in commands:
        begin = time.monotonic()
        program, *arguments = shlex.split(command)
        done = subprocess.run(
            [here / "bin" / program, *arguments], cwd=here, env=environment, capture_output=True, text=True
        )
        line = f"[{extras or 'torch alone'}] {command.strip()[:100]!r}"
        print(f"{'FAILED' if done.returncode else 'passed'} {time.monotonic() - begin:4.0f} s  {line}", flush=True)
        if done.returncode:
            print(done.stdout[-2000:], done.stderr[-4000:], file=sys.stderr)
            yield line


if __name__ == "__main__":
    main()
