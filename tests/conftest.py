"""What tests of all folders share."""

import gc
import shutil
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from browser import chromium, open_page, page_errors
from steadydecay.polar import choice

# Fixtures of pages in a real browser.
__all__ = ["chromium", "open_page", "page_errors"]


def pytest_collection_finish() -> None:
    leave_packages_out_of_looks_through_the_heap()


@pytest.fixture(scope="module", autouse=True)
def packages_of_a_module() -> Iterator[None]:
    """Its tests import some too, and the collector as well as schedules and optimizers look through the heap."""
    yield
    leave_packages_out_of_looks_through_the_heap()


def leave_packages_out_of_looks_through_the_heap() -> None:
    """A million objects of imported packages are no garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def one_cpu_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Bitwise comparisons need one device, and tests that run side by side one thread each."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=[True, False], ids=["fast bfloat16", "slow bfloat16"])
def has_fast_bfloat16(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """A CPU that multiplies fast in bfloat16, and one that does not, whichever this one is."""
    monkeypatch.setattr(choice, "HAS_FAST_BFLOAT16", request.param)
    return request.param


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three modules of the standard library."""
    folder = tmp_path_factory.mktemp("text")
    for name in ("argparse.py", "ast.py", "abc.py"):
        shutil.copy(Path(sysconfig.get_paths()["stdlib"]) / name, folder)
    return folder
