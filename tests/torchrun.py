"""A program in real processes under torchrun."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def on_ranks(program: Path, out: Path, *arguments: str, ranks: int = 2, timeout: float = 120) -> Any:
    """What the program wrote as JSON to `out`, its first argument.

    The processes stay on this machine's CPU, with one thread each; standard error is shown if one of them fails.
    """
    # Programs import what tests share, as tests do.
    paths = os.pathsep.join(filter(None, (str(Path(__file__).parent), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": paths}
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    command = [sys.executable, *launcher, str(program), str(out), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text())
