"""Checkpoints on a real disk: whole or absent, also when the writer is killed in the middle."""

import hashlib
import io
import os
import pickle
import random
import re
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import pytest
import torch

from steadydecay.recipes.checkpoint import Checkpoint, CheckpointError, checkpoints, delete_all, load_latest, save

# One interpreter imports torch once; each round is a forked process that saves in a loop until it is killed.
SAVING_PROCESSES = """
import os, sys
import torch
from steadydecay.recipes.checkpoint import save

folder = sys.argv[1]
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        for step in range(int(line), 10**9):
            save(folder, step, {"step": step, "weights": torch.full((300_000,), float(step))}, keep=2)
            os.write(1, f"saved {step}\\n".encode())
    os.write(1, f"child {child}\\n".encode())
    os.waitpid(child, 0)
    os.write(1, b"dead\\n")
"""


def state_of(value: int) -> dict[str, object]:
    return {"weights": torch.full((1000,), float(value)), "nested": {"lr": 0.5, "names": ["a", None]}}


def steps_in(folder: Path) -> list[int]:
    return [checkpoint.step for checkpoint in checkpoints(folder)]


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "here"
    path = save(folder, 7, state_of(7))
    assert list(folder.iterdir()) == [path]
    assert path.name.startswith("step-000000007-")
    loaded = load_latest(folder)
    assert loaded is not None
    step, state = loaded
    assert step == 7
    assert torch.equal(state.pop("weights"), torch.full((1000,), 7.0))
    assert state == {"nested": {"lr": 0.5, "names": ["a", None]}}


def test_an_optimizer_resumes_from_a_checkpoint(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([weight], lr=0.1)
    weight.grad = torch.ones(3)
    optimizer.step()
    save(tmp_path, 1, {"optimizer": optimizer.state_dict(), "random": torch.get_rng_state()})
    loaded = load_latest(str(tmp_path))
    assert loaded is not None
    other = torch.optim.AdamW([torch.nn.Parameter(torch.ones(3))], lr=0.5)
    other.load_state_dict(loaded[1]["optimizer"])
    assert other.param_groups[0]["lr"] == 0.1
    assert torch.equal(other.state_dict()["state"][0]["exp_avg"], optimizer.state_dict()["state"][0]["exp_avg"])
    torch.set_rng_state(loaded[1]["random"])


def test_tensors_go_to_the_device_asked_for(tmp_path: Path) -> None:
    save(tmp_path, 1, state_of(1))
    loaded = load_latest(tmp_path, map_location="meta")
    assert loaded is not None
    assert loaded[1]["weights"].device.type == "meta"


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert load_latest(tmp_path / "absent") is None
    (tmp_path / "notes.pt").write_text("not a checkpoint")
    (tmp_path / "step-000000001-short.pt").write_text("nor is this")
    (tmp_path / ".step-000000001-1.pt.tmp").write_text("nor what a killed process left")
    assert load_latest(tmp_path) is None


@pytest.mark.parametrize("keep", [1, 2, 3, 10])
def test_only_the_newest_are_kept(tmp_path: Path, keep: int) -> None:
    for step in range(5):
        save(tmp_path, step, state_of(step), keep=keep)
    assert steps_in(tmp_path) == list(range(4, max(-1, 4 - keep), -1))


def test_three_are_kept_unless_said_otherwise(tmp_path: Path) -> None:
    for step in range(5):
        save(tmp_path, step, state_of(step))
    assert steps_in(tmp_path) == [4, 3, 2]


def test_steps_are_ordered_as_numbers(tmp_path: Path) -> None:
    for step in (999_999_999, 1_000_000_000):
        save(tmp_path, step, state_of(1))
    assert steps_in(tmp_path) == [1_000_000_000, 999_999_999]


def test_other_files_of_the_folder_are_left_alone(tmp_path: Path) -> None:
    names = {"log.jsonl", "step-best.pt", "step-000000001-short.pt"}
    for name in names:
        (tmp_path / name).write_text("kept")
    save(tmp_path, 1, state_of(1), keep=1)
    path = save(tmp_path, 2, state_of(2), keep=1)
    assert {file.name for file in tmp_path.iterdir()} == names | {path.name}


@pytest.mark.parametrize("second", [1, 2])
def test_saving_a_step_again_leaves_one_file(tmp_path: Path, second: int) -> None:
    save(tmp_path, 4, state_of(0))
    save(tmp_path, 5, state_of(1))
    path = save(tmp_path, 5, state_of(second))
    assert [checkpoint.path for checkpoint in checkpoints(tmp_path) if checkpoint.step == 5] == [path]
    assert steps_in(tmp_path) == [5, 4]
    loaded = load_latest(tmp_path)
    assert loaded is not None
    assert loaded[1]["weights"][0] == second


def test_of_one_step_the_file_written_last_counts(tmp_path: Path) -> None:
    """A process killed between the rename and the deletion leaves two."""
    paths = {value: save(tmp_path / str(value), 5, state_of(value)) for value in (1, 2)}
    for value, path in paths.items():
        os.utime(path, ns=(value * 10**9, value * 10**9))
        path.rename(tmp_path / path.name)
    loaded = load_latest(tmp_path)
    assert loaded is not None
    assert loaded[1]["weights"][0] == 2


def test_the_file_just_saved_outlives_later_broken_ones(tmp_path: Path) -> None:
    save(tmp_path, 10, state_of(10))
    flip_a_byte(save(tmp_path, 20, state_of(20)))
    save(tmp_path, 15, state_of(15), keep=2)
    assert steps_in(tmp_path) == [15, 10]
    flip_a_byte(save(tmp_path, 30, state_of(30), keep=3))
    save(tmp_path, 16, state_of(16), keep=1)
    assert steps_in(tmp_path) == [16]


def test_temporary_files_of_killed_processes_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".step-000000001-12345.pt.tmp").write_bytes(b"half")
    path = save(tmp_path, 2, state_of(2))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "append"])
def test_a_broken_checkpoint_is_skipped_with_a_warning(tmp_path: Path, damage: str) -> None:
    save(tmp_path, 1, state_of(1))
    path = save(tmp_path, 2, state_of(2))
    content = path.read_bytes()
    if damage == "flip":
        flip_a_byte(path)
    else:
        path.write_bytes({"truncate": content[:-10], "empty": b"", "append": content + b"x"}[damage])
    with pytest.warns(UserWarning, match=rf"Skipped .*{path.name}: its content does not match"):
        loaded = load_latest(tmp_path)
    assert loaded is not None
    assert loaded[0] == 1


def test_a_whole_checkpoint_is_loaded_without_a_warning(tmp_path: Path) -> None:
    flip_a_byte(save(tmp_path, 1, state_of(1)))
    save(tmp_path, 2, state_of(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_latest(tmp_path) is not None


def test_a_folder_of_broken_checkpoints_is_an_error(tmp_path: Path) -> None:
    for step in (1, 2):
        flip_a_byte(save(tmp_path, step, state_of(step)))
    message = rf"none of the 2 checkpoints in .*{tmp_path.name} is whole, .* Restore one from a copy, or start again"
    with pytest.warns(UserWarning, match="Skipped"), pytest.raises(CheckpointError, match=message):
        load_latest(tmp_path)


@pytest.mark.parametrize(("step", "keep", "message"), [(0, 0, "keep is 0; it must be"), (-1, 1, "step is -1; it must be")])
def test_save_refuses_what_is_not_legal(tmp_path: Path, step: int, keep: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        save(tmp_path / "absent", step, state_of(0), keep=keep)
    assert not (tmp_path / "absent").exists()


def test_a_state_that_could_not_be_loaded_again_is_refused_at_once(tmp_path: Path) -> None:
    path = save(tmp_path, 1, state_of(1))
    with pytest.raises(
        CheckpointError, match=r"state of step 2 contains an object .* refuses\. It must consist of\s+tensors"
    ):
        save(tmp_path, 2, {"folder": Path("somewhere")})
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_save_leaves_the_previous_checkpoint_and_nothing_else(tmp_path: Path) -> None:
    path = save(tmp_path, 1, state_of(1))
    with pytest.raises(Exception, match="pickle"):
        save(tmp_path, 2, {"function": lambda: None})
    assert list(tmp_path.iterdir()) == [path]


def test_until_the_rename_there_is_no_new_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path, 1, state_of(1))

    def fail(source: Path, target: Path) -> NoReturn:
        assert checkpoints(tmp_path) == [(1, path.stem[-16:], path)]
        raise OSError("no rename")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(
        CheckpointError, match=r"step 2 cannot be written to .* \(no rename\)\. Earlier checkpoints are"
    ):
        save(tmp_path, 2, state_of(2))
    assert list(tmp_path.iterdir()) == [path]


# What cannot be written or read


FULL_DISK = """
import resource, signal, sys
import torch
from steadydecay.recipes.checkpoint import CheckpointError, save

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for limit in (1_000_000, 100_000, 5_000, 10):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    weights = {str(number): torch.ones(50_000) for number in range(6)}
    try:
        save(sys.argv[1], 2, {"weights": weights, "names": ["name"] * 1000})
    except CheckpointError as error:
        print(error)
"""


def test_a_full_disk_is_one_line_and_leaves_the_previous_checkpoint(tmp_path: Path) -> None:
    """Wherever in the file it gets full."""
    path = save(tmp_path, 1, state_of(1))
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    message = (
        rf"the checkpoint of step 2 cannot be written to {tmp_path} \(File too large\)\. Earlier checkpoints are .*"
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 4 and all(re.fullmatch(message, line) for line in lines), done.stdout
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_while_saving_is_an_interrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch would make an error of its own of it."""
    path = save(tmp_path, 1, state_of(1))

    def interrupted(state: object, file: BinaryIO) -> NoReturn:
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534")

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, 2, state_of(2))
    assert list(tmp_path.iterdir()) == [path]


def plant(folder: Path, step: int, content: bytes) -> Path:
    """A file whose checksum is right."""
    path = folder / f"step-{step:09d}-{hashlib.sha256(content).hexdigest()[:16]}.pt"
    path.write_bytes(content)
    return path


def saved_bytes(state: object) -> bytes:
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", r"it cannot be loaded \(EOFError"),
        (b"hello", r"it cannot be loaded \(KeyError"),
        (b"PK\x03\x04" + bytes(60), r"it cannot be loaded \(RuntimeError"),
        (b"\x80\x02}q\x00." * 3, r"it (cannot be loaded|holds)"),
        (pickle.dumps(Path("somewhere"), protocol=2), r"it cannot be loaded \(UnpicklingError"),
        (saved_bytes([1, 2]), "it contains a list where a dict is expected"),
        (saved_bytes(torch.ones(3)), "it contains a Tensor where a dict is expected"),
        (saved_bytes(state_of(1))[:-100], r"it cannot be (read|loaded)"),
    ],
)
def test_a_planted_file_is_skipped_for_the_older_checkpoint(tmp_path: Path, content: bytes, reason: str) -> None:
    save(tmp_path, 1, state_of(1))
    planted = plant(tmp_path, 2, content)
    with pytest.warns(UserWarning, match=f"Skipped .*{planted.name}: {reason}") as warned:
        loaded = load_latest(tmp_path)
    assert loaded is not None and loaded[0] == 1
    assert all(len(str(one.message).splitlines()) == 1 for one in warned)


@pytest.mark.parametrize("kind", ["folder", "pipe", "link to nothing", "device"])
def test_what_is_no_file_is_skipped_for_the_older_checkpoint(tmp_path: Path, kind: str) -> None:
    save(tmp_path, 1, state_of(1))
    path = tmp_path / "step-000000002-0123456789abcdef.pt"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("nowhere" if kind == "link to nothing" else "/dev/zero")
    with pytest.warns(UserWarning, match=f"Skipped .*{path.name}: it cannot be"):
        loaded = load_latest(tmp_path)
    assert loaded is not None and loaded[0] == 1
    with warnings.catch_warnings():
        # A folder is not deleted; that is said.
        warnings.simplefilter("error" if kind != "folder" else "ignore")
        save(tmp_path, 3, state_of(3), keep=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = load_latest(tmp_path)
    assert loaded is not None and loaded[0] == 3
    assert 1 in steps_in(tmp_path), "what is broken does not push out what is whole"


def test_a_broken_one_stays_where_there_is_room_and_goes_first_where_not(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save(tmp_path, step, state_of(step))
    flip_a_byte(next(one.path for one in checkpoints(tmp_path) if one.step == 2))
    save(tmp_path, 4, state_of(4), keep=4)
    assert steps_in(tmp_path) == [4, 3, 2, 1]
    save(tmp_path, 5, state_of(5), keep=4)
    assert steps_in(tmp_path) == [5, 4, 3, 1]


def test_a_state_that_is_not_accepted_is_skipped(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save(tmp_path, step, state_of(step))
    asked: list[int] = []

    def accept(found: Checkpoint, state: dict[str, Any]) -> None:
        asked.append(found.step)
        assert state["weights"][0] == found.step
        if found.step > 1:
            raise CheckpointError(f"not {found.step}")

    with pytest.warns(UserWarning, match=r"Skipped .*: not 3") as warned:
        loaded = load_latest(tmp_path, accept=accept)
    assert loaded is not None and loaded[0] == 1
    assert asked == [3, 2, 1] and len(warned) == 2


@pytest.mark.parametrize("kind", ["file", "link to nothing"])
def test_a_folder_that_is_none_is_not_an_empty_one(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "checkpoints"
    folder.touch() if kind == "file" else folder.symlink_to("nowhere")
    with pytest.raises(CheckpointError, match=r"checkpoints cannot be read \(N.*\), so its contents are unknown"):
        load_latest(folder)
    with pytest.raises(OSError):
        checkpoints(folder)


def test_all_are_deleted_and_other_files_are_not(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for step in (1, 2):
        save(tmp_path / "link", step, state_of(step))
    for name in ("step-best.pt", ".step-000000001-77.pt.tmp"):
        (tmp_path / "real" / name).write_text("content")
    delete_all(tmp_path / "link")
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["step-best.pt"]
    delete_all(tmp_path / "absent")


def test_a_kill_at_any_moment_leaves_the_last_finished_checkpoint(tmp_path: Path) -> None:
    moments = random.Random(0)
    arguments = [sys.executable, "-c", SAVING_PROCESSES, str(tmp_path)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as saver:
        interrupted, next_step = 0, 0
        for _ in range(15):
            finished = kill_while_saving(saver, next_step, moments.uniform(0, 0.03))
            interrupted += any(path.suffix == ".tmp" for path in tmp_path.iterdir())
            with warnings.catch_warnings():
                # Not one file may be broken: the rename comes after the content.
                warnings.simplefilter("error")
                loaded = load_latest(tmp_path)
            assert loaded is not None
            step, state = loaded
            # The kill may fall between the rename and the report.
            assert finished <= step <= finished + 1
            assert state["step"] == step
            assert torch.equal(state["weights"], torch.full((300_000,), float(step)))
            next_step = step + 1
    assert saver.returncode == 0
    assert interrupted >= 1, "no kill fell into a save, so nothing was tested"
    assert len(checkpoints(tmp_path)) <= 3


def kill_while_saving(saver: subprocess.Popen[str], first_step: int, delay: float) -> int:
    """Start a process that saves, kill it a moment after its first save; the last step it reported as saved."""
    assert saver.stdin is not None and saver.stdout is not None
    saver.stdin.write(f"{first_step}\n")
    child, finished = 0, -1
    while not (child and finished >= 0):
        child, finished = reported(saver.stdout.readline(), child, finished)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    while (line := saver.stdout.readline()) != "dead\n":
        child, finished = reported(line, child, finished)
    return finished


def reported(line: str, child: int, finished: int) -> tuple[int, int]:
    word, number = line.split()
    return (int(number), finished) if word == "child" else (child, int(number))
