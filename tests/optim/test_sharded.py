"""Two real processes with weights cut by FSDP2 take the steps of one with whole weights."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sharded_steps import OPTIMIZERS

PROGRAM = Path(__file__).with_name("sharded_steps.py")


@pytest.fixture(scope="module")
def differences(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """Largest difference of a weight by optimizer."""
    out = tmp_path_factory.mktemp("sharded") / "out.json"
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, *launcher, str(PROGRAM), str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_sharded_weights_step_as_whole_ones(name: str, differences: dict[str, float]) -> None:
    assert differences[name] < 1e-5
