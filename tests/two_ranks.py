"""A program in two real processes under torchrun."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

LAUNCHER = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def on_two_ranks(program: Path, out: Path) -> Any:
    """What the program wrote as JSON to `out`, its one argument."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, *LAUNCHER, str(program), str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text())
