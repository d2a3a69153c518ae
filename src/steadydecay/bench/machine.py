"""Describe the hardware and software of a measurement."""

import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from steadydecay.polar.choice import HAS_FAST_BFLOAT16


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What every stored result says about how it was made.

    Args:
        device: The result of `described`.
        versions: The result of `versions_of` for the packages that took part.
        date: ISO 8601, UTC.
        command: The command as it was given.
    """

    device: dict[str, Any]
    versions: dict[str, str]
    date: str
    command: str

    @property
    def place(self) -> str:
        """The device in words."""
        if self.device["type"] == "cuda":
            return f"GPU {self.device['name']}"
        fast = "fast" if self.device["has_fast_bfloat16"] else "slow"
        return f"{self.device['name']}, {self.device['threads']} threads, {fast} bfloat16"

    @property
    def software(self) -> str:
        """The versions in words."""
        return ", ".join(f"{name} {number}" for name, number in sorted(self.versions.items()))


def circumstances(command: str, device: torch.device, distributions: Iterable[str]) -> dict[str, Any]:
    """Return the fields of `Circumstances` here and now."""
    return {
        "device": described(device),
        "versions": versions_of(distributions),
        "date": datetime.now(UTC).date().isoformat(),
        "command": command,
    }


def described(device: torch.device) -> dict[str, Any]:
    """Return name, memory, threads, and whether products in bfloat16 are fast."""
    if device.type == "cuda":
        return {"type": "cuda", "name": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
    return {
        "type": device.type,
        "name": processor_name(),
        "threads": torch.get_num_threads(),
        "has_fast_bfloat16": HAS_FAST_BFLOAT16,
    }


def processor_name(information: Path = Path("/proc/cpuinfo")) -> str:
    """Return the name according to Linux, or what Python knows on other systems."""
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def memory_of(device: torch.device) -> int:
    """Return all bytes of the device."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def versions_of(distributions: Iterable[str]) -> dict[str, str]:
    """Return the versions of Python and of those packages that are installed."""
    found = {"python": platform.python_version()}
    for name in distributions:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
