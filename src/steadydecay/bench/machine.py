"""What a result was measured on and with."""

import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from steadydecay.polar.choice import HAS_FAST_BFLOAT16


def described(device: torch.device) -> dict[str, Any]:
    """Name, memory, threads, and whether products in bfloat16 are fast."""
    if device.type == "cuda":
        return {"type": "cuda", "name": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
    return {
        "type": device.type,
        "name": processor_name(),
        "threads": torch.get_num_threads(),
        "has_fast_bfloat16": HAS_FAST_BFLOAT16,
    }


def processor_name(information: Path = Path("/proc/cpuinfo")) -> str:
    """As Linux has it; elsewhere what Python knows."""
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def memory_of(device: torch.device) -> int:
    """Bytes of the device, all of them."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def versions_of(distributions: Iterable[str]) -> dict[str, str]:
    """Of Python, and of those that are installed."""
    found = {"python": platform.python_version()}
    for name in distributions:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
