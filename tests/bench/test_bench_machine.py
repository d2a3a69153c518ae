"""What is said of the machine."""

import platform
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from steadydecay.bench.machine import (
    Circumstances,
    circumstances,
    described,
    memory_of,
    processor_name,
    versions_of,
)
from steadydecay.polar.choice import HAS_FAST_BFLOAT16

CPU = torch.device("cpu")


@pytest.mark.usefixtures("one_cpu_thread")
def test_a_cpu_has_a_name_threads_and_the_speed_of_bfloat16() -> None:
    assert described(CPU) == {
        "type": "cpu",
        "name": processor_name(),
        "threads": 1,
        "has_fast_bfloat16": HAS_FAST_BFLOAT16,
    }


def test_the_name_is_that_of_linux_or_else_pythons(tmp_path: Path) -> None:
    information = tmp_path / "cpuinfo"
    information.write_text("processor\t: 0\nmodel name\t: Fast: CPU 3\nmodel name\t: Fast: CPU 3\n")
    assert processor_name(information) == "Fast: CPU 3"
    for text in ("processor : 0\n", ""):
        information.write_text(text)
        assert processor_name(information) == (platform.processor() or platform.machine())
    assert processor_name(tmp_path / "none") == (platform.processor() or platform.machine())


def test_the_memory_is_more_than_this_test_takes() -> None:
    assert 2**28 < memory_of(CPU) < 2**50


def test_versions_are_of_what_is_installed() -> None:
    expected = {"python": platform.python_version(), "torch": torch.__version__}
    assert versions_of(["torch", "no-such-package"]) == expected


def test_a_gpu_has_a_name_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Big GPU {device}")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=80))
    assert described(torch.device("cuda")) == {"type": "cuda", "name": "Big GPU cuda", "cuda": torch.version.cuda}
    assert memory_of(torch.device("cuda")) == 80


def test_circumstances_are_told_in_words() -> None:
    made = Circumstances(**circumstances("steadydecay bench", CPU, ["torch"]))
    assert (made.command, made.device) == ("steadydecay bench", described(CPU))
    assert made.software == f"python {platform.python_version()}, torch {torch.__version__}"
    processor = {"type": "cpu", "name": "Slow CPU", "threads": 3, "has_fast_bfloat16": False}
    assert replace(made, device=processor).place == "Slow CPU, 3 threads, slow bfloat16"
    assert replace(made, device={"type": "cuda", "name": "Big"}).place == "GPU Big"
