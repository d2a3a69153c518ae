"""A connection to a Ray cluster that ends with the sweep and leaves the cluster as it was."""

import logging
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

SECONDS_TO_ANSWER = 5.0


@contextmanager
def joined_cluster(address: str, resources: Mapping[str, float]) -> Iterator[int]:
    """Be a driver of the cluster for as long as the block lasts; its tasks end with it, and the cluster stays.

    Args:
        address: "auto" for the cluster of which this machine is a node, or "HOST:PORT" of its head.
        resources: what one trial takes of a node: "CPU" and "GPU".

    Yields:
        How many trials the cluster has room for now, busy or not; at least 1.

    Raises:
        ValueError: Ray is not installed, no cluster answers at the address, or no node has these resources.
    """
    if find_spec("ray") is None:
        raise ValueError("ray is given, and Ray is not installed: pip install 'steadydecay[sweep]'")
    import ray

    _require_answer(address)
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError) as error:
        raise ValueError(f"ray is {address!r}, and no cluster answers there ({error}); {_REMEDY}") from None
    try:
        yield _room(resources)
    finally:
        ray.shutdown()


_REMEDY = "start one with `ray start --head`, or give the HOST:PORT that it printed"


def _require_answer(address: str) -> None:
    """Ray itself waits for two minutes, and then ends the process."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise ValueError(f"ray is {address!r}; legal are auto and HOST:PORT, such as 10.0.0.1:6379")
    try:
        socket.create_connection((host, int(port)), SECONDS_TO_ANSWER).close()
    except OSError as error:
        raise ValueError(f"ray is {address!r}, and nothing answers there ({error}); {_REMEDY}") from None


def _room(resources: Mapping[str, float]) -> int:
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    rooms = [_room_on(node, resources) for node in nodes]
    if not any(rooms):
        wanted = " and ".join(f"{count:g} {name}" for name, count in resources.items() if count)
        largest = "; ".join(", ".join(f"{node.get(name, 0):g} {name}" for name in resources) for node in nodes)
        raise ValueError(f"a trial wants {wanted}, and no node of the cluster has so much ({largest})")
    return sum(rooms)


def _room_on(node: Mapping[str, Any], resources: Mapping[str, float]) -> int:
    return min(int(node.get(name, 0) // count) for name, count in resources.items() if count)
