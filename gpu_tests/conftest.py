"""Tests that need a CUDA device: `make test-gpu`.

`--device cpu` runs them without one, to check the tests themselves: Triton interprets its kernels, a recorded graph is
a call, and a step that reads a value fails on the meta device as one that waits for a GPU does there.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

# The cases of the kernel are those of the tests on the CPU.
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "polar"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", choices=("cuda", "cpu"), default="cuda")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--device") == "cpu":
        os.environ["TRITON_INTERPRET"] = "1"
    elif not torch.cuda.is_available():
        raise pytest.UsageError("there is no CUDA device; --device cpu checks the tests themselves")


@pytest.fixture(autouse=True)
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where new tensors are."""
    name = str(request.config.getoption("--device"))
    torch.set_default_device(name)
    yield name
    torch.set_default_device(None)
