"""A sweep on a real Ray cluster of two nodes, which loses one of them and a process of the other."""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import psutil
import pytest
from running_sweep import SECONDS, TRIALS, finished, kill_all, start, wait_until

from steadydecay.sweeps.sweep_tables import read_sweep

NODE: dict[str, Any] = {"num_cpus": 2, "object_store_memory": 80_000_000}
SOURCE = Path(__file__).parents[2] / "src"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of two cores, without a dashboard; their processes know the source under test."""
    patch = pytest.MonkeyPatch()
    # A path that is short enough for the names of Ray's sockets, and apart from any other cluster.
    folder = Path(mkdtemp(prefix="ray-"))
    patch.setenv("RAY_TMPDIR", str(folder))
    patch.setenv("TMPDIR", str(folder))
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(SOURCE), os.environ.get("PYTHONPATH")))))
    patch.setenv("OMP_NUM_THREADS", "1")
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    found.add_node(**NODE)
    yield found
    found.shutdown()
    patch.undo()
    shutil.rmtree(folder)


def raylet_of(node: Any) -> psutil.Process:
    return psutil.Process(node.all_processes["raylet"][0].process.pid)


def training(node: Any) -> list[psutil.Process]:
    """Processes of a node in which a trial is being trained."""
    found = []
    for child in raylet_of(node).children():
        # Ray's processes come and go.
        with suppress(psutil.NoSuchProcess):
            found += [child] if "train_on_node" in " ".join(child.cmdline()) else []
    return found


def test_twelve_trials_survive_the_loss_of_a_node_and_of_a_trial(cluster: Any, text: Path, tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    head, second = cluster.head_node, next(iter(cluster.worker_nodes))
    sweep = start(text, out, "--ray", cluster.address, "--steps", "80")
    wait_until(lambda: len(finished(out)) >= 1 and bool(training(second)), sweep)
    kill_all(raylet_of(second))
    wait_until(lambda: len(finished(out)) >= 3 and bool(training(head)), sweep)
    training(head)[0].kill()
    assert sweep.wait(timeout=SECONDS) == 0
    rows = read_sweep(out)
    assert [row.status for row in rows] == ["finished"] * TRIALS
    assert len({row.trial for row in rows}) == TRIALS
    assert sum(row.attempts for row in rows) >= TRIALS + 2
    assert "The sweep has 12 trials: 12 finished." in out.with_suffix(".out").read_text()
    assert raylet_of(head).is_running()


def test_ctrl_c_ends_the_sweep_and_leaves_the_cluster(cluster: Any, text: Path, tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    head = cluster.head_node
    endless = ("checkpoint_every=5", "evaluate_every=50000")
    sweep = start(text, out, "--ray", cluster.address, "--steps", "100000", overrides=endless)
    wait_until(lambda: bool(training(head)), sweep)
    tasks = training(head)
    sweep.send_signal(signal.SIGINT)
    assert sweep.wait(timeout=SECONDS) == 2, out.with_suffix(".err").read_text()
    assert out.with_suffix(".err").read_text().splitlines()[-1].startswith("steadydecay: stopped by Ctrl-C;")
    assert raylet_of(head).is_running()
    assert psutil.wait_procs(tasks, timeout=10)[1] == []
