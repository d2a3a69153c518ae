"""Two real processes with weights cut by FSDP2 take the steps of one with whole weights."""

from pathlib import Path

import pytest
from sharded_steps import OPTIMIZERS

from two_ranks import on_two_ranks

PROGRAM = Path(__file__).with_name("sharded_steps.py")


@pytest.fixture(scope="module")
def differences(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """Largest difference of a weight by optimizer."""
    out = tmp_path_factory.mktemp("sharded") / "out.json"
    return on_two_ranks(PROGRAM, out)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_sharded_weights_step_as_whole_ones(name: str, differences: dict[str, float]) -> None:
    assert differences[name] < 1e-5
