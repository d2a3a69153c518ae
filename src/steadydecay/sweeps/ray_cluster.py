"""Connect to a Ray cluster during the sweep, and leave the cluster as it was."""

import logging
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

SECONDS_TO_ANSWER = 5.0


@contextmanager
def joined_cluster(address: str, resources: Mapping[str, float]) -> Iterator[int]:
    """Be a driver of the cluster inside the block. Its tasks end with the block, and the cluster stays.

    Args:
        address: "auto" if this machine is a node of the cluster, or "HOST:PORT" of its head.
        resources: What one trial takes on a node, "CPU" and "GPU".

    Yields:
        The number of trials that the cluster has room for, whether it is busy or not; at least 1.

    Raises:
        ValueError: Ray is not installed, no cluster answers at the address, or no node has these resources.
    """
    if find_spec("ray") is None:
        raise ValueError("ray is given, but Ray is not installed; run pip install 'steadydecay[sweep]'")
    import ray

    _require_answer(address)
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError) as error:
        raise ValueError(f"ray is {address!r}, but no cluster answers there ({error}); {_REMEDY}") from None
    try:
        yield _room(resources)
    finally:
        ray.shutdown()


_REMEDY = "start one with `ray start --head`, or give the HOST:PORT that it printed"


def _require_answer(address: str) -> None:
    """Check that the address answers, because Ray itself would wait for two minutes and then end the process."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise ValueError(f"ray is {address!r}; it must be auto or HOST:PORT, such as 10.0.0.1:6379")
    try:
        socket.create_connection((host, int(port)), SECONDS_TO_ANSWER).close()
    except OSError as error:
        raise ValueError(f"ray is {address!r}, but nothing answers there ({error}); {_REMEDY}") from None


def _room(resources: Mapping[str, float]) -> int:
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    rooms = [_room_on(node, resources) for node in nodes]
    if not any(rooms):
        wanted = " and ".join(f"{count:g} {name}" for name, count in resources.items() if count)
        largest = "; ".join(", ".join(f"{node.get(name, 0):g} {name}" for name in resources) for node in nodes)
        raise ValueError(f"a trial needs {wanted}, but no node of the cluster has that much ({largest})")
    return sum(rooms)


def _room_on(node: Mapping[str, Any], resources: Mapping[str, float]) -> int:
    return min(int(node.get(name, 0) // count) for name, count in resources.items() if count)
