"""The real loggers, offline, read back from what they leave on disk."""

import json
import math
import os
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
import wandb
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.tensorboard import SummaryWriter
from wandb.proto import wandb_internal_pb2

import steadydecay as sd
from steadydecay.run_log.loggers import to_json_lines, to_tensorboard, to_wandb
from steadydecay.run_log.reader import read_log

STEPS = 3


@pytest.fixture
def measured() -> list[tuple[int, dict[str, float]]]:
    """Steps and metrics of a real watch."""
    model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2))
    optimizer = sd.ScionC(sd.param_groups(model, "scion", lr=0.1, weight_decay=0.1), 0.1)
    monitor = sd.watch(optimizer)
    found = []
    for step in range(1, STEPS + 1):
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
        found.append((step, monitor.metrics()))
    assert "layer/0.weight/spectral_norm" in found[0][1] and "group/hidden/norm_ratio" in found[0][1]
    return found


def test_tensorboard(tmp_path: Path, measured: Any) -> None:
    with SummaryWriter(str(tmp_path)) as writer:
        for step, metrics in measured:
            to_tensorboard(writer, metrics, step)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert set(events.Tags()["scalars"]) == set().union(*(metrics for _, metrics in measured))
    for step, metrics in measured:
        for name, value in metrics.items():
            logged = {event.step: event.value for event in events.Scalars(name)}
            assert logged[step] == pytest.approx(value, rel=1e-6, nan_ok=True)


def wandb_records(data: bytes) -> Iterator[bytes]:
    """Records of an offline run: LevelDB's log format, in blocks of 32 KiB, behind seven bytes of wandb's own."""
    block, position, parts = 2**15, 7, []
    while position + 7 <= len(data):
        if block - position % block < 7:
            position += block - position % block
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        parts.append(data[position + 7 : position + 7 + length])
        position += 7 + length
        # A whole record, or the last part of one.
        if kind in (1, 4):
            yield b"".join(parts)
            parts = []


def wandb_history(folder: Path) -> list[dict[str, Any]]:
    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    rows = []
    for data in wandb_records(path.read_bytes()):
        record: Any = wandb_internal_pb2.Record()  # pyright: ignore[reportAttributeAccessIssue]
        record.ParseFromString(data)
        rows.append({item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item})
    return [row for row in rows if row]


def test_wandb_offline(tmp_path: Path, measured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    with wandb.init(mode="offline", dir=tmp_path, project="steadydecay") as run:
        for step, metrics in measured:
            to_wandb(run, metrics, step)
    # Its process may still be writing.
    wandb.teardown()
    rows = wandb_history(tmp_path)
    assert [row["_step"] for row in rows] == [step for step, _ in measured]
    for row, (_, metrics) in zip(rows, measured, strict=True):
        assert {name: row[name] for name in metrics} == pytest.approx(metrics)


LOG_TO_TRACKIO = """
import json, sys, trackio
from steadydecay.run_log.loggers import to_trackio
run = trackio.init(project="steadydecay", name="run", embed=False)
for step, metrics in json.load(sys.stdin):
    to_trackio(run, metrics, step)
trackio.finish()
"""


def test_trackio_offline(tmp_path: Path, measured: Any) -> None:
    """In a process of its own: trackio takes its folder from the environment when it is imported."""
    environment = os.environ | {"TRACKIO_DIR": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", LOG_TO_TRACKIO]
    subprocess.run(command, env=environment, input=json.dumps(measured), text=True, check=True, timeout=120)
    with closing(sqlite3.connect(tmp_path / "steadydecay.db")) as database:
        rows = dict(database.execute("SELECT step, metrics FROM metrics ORDER BY step").fetchall())
    assert list(rows) == [step for step, _ in measured]
    for step, metrics in measured:
        logged = json.loads(rows[step])
        assert {name: logged[name] for name in metrics} == pytest.approx(metrics)


def test_json_lines(tmp_path: Path, measured: Any) -> None:
    path = tmp_path / "metrics.jsonl"
    with path.open("w") as file:
        for step, metrics in measured:
            to_json_lines(file, metrics, step)
            last = json.loads(path.read_text().splitlines()[-1])
            assert last == {"step": step, **metrics}, "flushed line by line"
    assert len(path.read_text().splitlines()) == STEPS


def test_json_lines_are_strict_where_numbers_are_not_finite(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with path.open("w") as file:
        to_json_lines(file, {"a": math.nan, "b": math.inf}, 7)
    assert path.read_text() == '{"step": 7, "a": "NaN", "b": "Infinity"}\n'
    assert read_log(path).skipped_lines == 1, "no record of a run log"
