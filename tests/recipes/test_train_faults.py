"""A run that meets another one, a full disk, Ctrl-C or what it may not read: refused or mended, and said."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from forked import FORKED
from steadydecay.recipes import checkpoint
from steadydecay.recipes.checkpoint import CheckpointError, checkpoints, load_latest
from steadydecay.recipes.gpt.recipe import GPTRecipe, gpt_recipe
from steadydecay.recipes.train import train
from steadydecay.report.report_page import write_page
from steadydecay.report.runs import load_all
from steadydecay.run_log.folder_lock import FolderInUseError
from steadydecay.run_log.reader import read_log

pytestmark = pytest.mark.usefixtures("one_cpu_thread")

SMALL = {"layers": 1, "width": 32, "heads": 1, "length": 16, "batch_size": 4, "evaluation_batches": 2}


@pytest.fixture(scope="module")
def recipe(text: Path) -> GPTRecipe:
    often = {"steps": 12, "checkpoint_every": 4, "evaluate_every": 6, "layers_every": 6}
    return gpt_recipe("mini", "adamw", {"data": str(text), "precision": "float32", **SMALL, **often})


@pytest.fixture(scope="module")
def finished(recipe: GPTRecipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train(recipe, folder)
    torch.set_num_threads(threads)
    return folder


def cut_copy(finished: Path, folder: Path) -> Path:
    """The run as it was after its checkpoint of step 8; returns the log."""
    shutil.copytree(finished, folder, dirs_exist_ok=True)
    checkpoints(folder / "checkpoints")[0].path.unlink()
    return folder / "run.jsonl"


def steps_in(folder: Path) -> list[int]:
    return [record["step"] for record in read_log(folder / "run.jsonl").records if record["kind"] == "step"]


def assert_whole(folder: Path, finished: Path) -> None:
    """The weights, the steps of the log and the names of all files are those of a run that met nothing."""
    loaded, expected = load_latest(folder / "checkpoints"), load_latest(finished / "checkpoints")
    assert loaded is not None and expected is not None and loaded[0] == expected[0] == 12
    assert all(torch.equal(loaded[1]["model"][name], weight) for name, weight in expected[1]["model"].items())
    assert steps_in(folder) == list(range(1, 13))
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoints", "run.jsonl"]
    assert sorted(path.name[:14] for path in (folder / "checkpoints").iterdir()) == ["step-000000008", "step-000000012"]


# Two runs in one folder, and one that dies


def train_until_the_second_save(recipe: GPTRecipe, folder: Path) -> None:
    """Stands still in the middle of the checkpoint of step 8, with what will be left of a log that was replaced."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    torch.set_num_threads(1)
    save = torch.save

    def stuck(state: Any, file: Any) -> None:
        if state["schedule"]["last_epoch"] < 8:
            return save(state, file)
        (folder / f".run.jsonl.{os.getpid()}.tmp").write_text("half")
        file.write(b"half")
        file.flush()
        return time.sleep(300)

    torch.save = stuck
    train(recipe, folder)


def wait_for(found: Callable[[], bool], process: Any) -> None:
    deadline = time.monotonic() + 120
    while not found():
        assert process.is_alive() and time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("last", [signal.SIGKILL, signal.SIGTERM])
def test_a_second_run_is_refused_while_the_first_lives_and_takes_over_when_it_dies(
    tmp_path: Path, recipe: GPTRecipe, finished: Path, last: signal.Signals
) -> None:
    saved = tmp_path / "checkpoints"
    process = FORKED.Process(target=train_until_the_second_save, args=(recipe, tmp_path))
    process.start()
    wait_for(lambda: any(one.read_bytes() == b"half" for one in saved.glob(".step-000000008-*.tmp")), process)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for restart in (False, True):
        with pytest.raises(
            FolderInUseError, match=rf"{tmp_path.name} is in use by process {process.pid} on .*, since "
        ):
            train(recipe, tmp_path, restart=restart)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    os.kill(process.pid or 0, last)
    process.join()
    assert process.exitcode == -last
    assert {path.suffix for path in tmp_path.rglob(".*")} == {"", ".tmp"}, "it left its lock and its halves"
    train(recipe, tmp_path)
    assert_whole(tmp_path, finished)


def test_a_run_that_is_over_or_fails_is_not_in_the_way(tmp_path: Path, recipe: GPTRecipe, finished: Path) -> None:
    cut_copy(finished, tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "save", lambda *_, **__: (_ for _ in ()).throw(CheckpointError("full")))
        with pytest.raises(CheckpointError, match="full"):
            train(recipe, tmp_path)
    for _ in range(2):
        train(recipe, tmp_path)
    assert_whole(tmp_path, finished)


def test_an_interrupt_in_the_middle_of_a_save_loses_no_more_than_the_steps_since_the_last(
    tmp_path: Path, recipe: GPTRecipe, finished: Path
) -> None:
    save = torch.save

    def interrupted(state: Any, file: Any) -> None:
        if state["schedule"]["last_epoch"] < 8:
            return save(state, file)
        file.write(b"half")
        # What starts tests in the background may ignore it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return signal.raise_signal(signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, tmp_path)
    assert [one.step for one in checkpoints(tmp_path / "checkpoints")] == [4]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoints", "run.jsonl"]
    train(recipe, tmp_path)
    assert_whole(tmp_path, finished)


# The log beside the checkpoints


def test_the_log_is_durable_before_each_checkpoint(
    tmp_path: Path, recipe: GPTRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    fsync, save = os.fsync, checkpoint.save

    def record(handle: int) -> None:
        events.append(Path(f"/proc/self/fd/{handle}").readlink().name)
        fsync(handle)

    def saved(folder: Path, step: int, *arguments: Any, **options: Any) -> Path:
        events.append(f"save {step} after {steps_in(tmp_path)[-1]}")
        return save(folder, step, *arguments, **options)

    monkeypatch.setattr(os, "fsync", record)
    monkeypatch.setattr(checkpoint, "save", saved)
    train(recipe, tmp_path)
    for step in (4, 8, 12):
        assert events[events.index(f"save {step} after {step}") - 1] == "run.jsonl"


def test_a_log_that_lacks_steps_is_said_and_the_run_goes_on(tmp_path: Path, recipe: GPTRecipe, finished: Path) -> None:
    log = cut_copy(finished, tmp_path)
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(line for line in lines if json.loads(line).get("step", 0) <= 2))
    with pytest.warns(UserWarning, match=r"run\.jsonl lacks steps 3 to 8, although the checkpoint is of step 8"):
        train(recipe, tmp_path)
    assert steps_in(tmp_path) == [1, 2, 9, 10, 11, 12]
    with pytest.warns(UserWarning, match=r"run\.jsonl lacks steps 3 to 8, although the checkpoint is of step 12"):
        train(recipe, tmp_path)


@pytest.mark.parametrize("what", ["emptied", "missing", "a link to nothing", "a file"])
def test_checkpoints_that_are_not_there_do_not_cost_the_log(
    tmp_path: Path, recipe: GPTRecipe, finished: Path, what: str
) -> None:
    log = cut_copy(finished, tmp_path)
    folder = tmp_path / "checkpoints"
    shutil.rmtree(folder)
    if what == "emptied":
        folder.mkdir()
    elif what == "a file":
        folder.touch()
    elif what != "missing":
        folder.symlink_to("nowhere")
    before = log.read_bytes()
    with pytest.raises(CheckpointError, match=r"cannot be read|but there is no checkpoint beside it"):
        train(recipe, tmp_path)
    assert log.read_bytes() == before
    assert not (tmp_path / ".lock").exists()


def test_restart_behind_a_link_begins_anew(tmp_path: Path, recipe: GPTRecipe, finished: Path) -> None:
    """It once went on with the old run: a link is not removed as a folder is."""
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / "checkpoints").rename(tmp_path / "elsewhere")
    (tmp_path / "run" / "checkpoints").symlink_to(tmp_path / "elsewhere")
    begun = (tmp_path / "run" / "run.jsonl").stat().st_mtime_ns
    train(recipe, tmp_path / "run", restart=True)
    assert (tmp_path / "run" / "run.jsonl").stat().st_mtime_ns > begun
    assert steps_in(tmp_path / "run") == list(range(1, 13))


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_a_restart_that_cannot_write_its_log_spares_the_checkpoints(
    tmp_path: Path, recipe: GPTRecipe, finished: Path, kind: str
) -> None:
    log = cut_copy(finished, tmp_path)
    log.unlink()
    log.mkdir() if kind == "folder" else os.mkfifo(log)
    with pytest.raises(
        ValueError, match=r"run\.jsonl is a .*, but only a regular file can be replaced by a new log; move it away"
    ):
        train(recipe, tmp_path, restart=True)
    assert [one.step for one in checkpoints(tmp_path / "checkpoints")] == [8]


def test_an_empty_folder_name_is_not_the_current_folder(
    tmp_path: Path, recipe: GPTRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="folder is ''; give a path"):
        train(recipe, "")
    assert list(tmp_path.iterdir()) == []


# Planted checkpoints

# Of a schedule, as far as torch looks at it.
PLAIN: dict[str, Any] = {"last_epoch": 10, "lr_lambdas": [None, None]}


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"recipe": None}, "it contains no recipe, so it is not a checkpoint of a run"),
        ({"model": {"other": torch.ones(3)}}, r"its content does not belong to this run \(RuntimeError: .*Missing key"),
        ({"model": 7}, r"its content does not belong to this run \(TypeError"),
        ({"optimizer": {}}, r"its content does not belong to this run \(KeyError"),
        ({"optimizer": {"state": {}, "param_groups": []}}, r"its content does not belong to this run \(ValueError"),
        ({"recipe": {"lr": torch.ones(3)}}, r"its recipe\.lr is a tensor of shape \(3,\), where only numbers and text"),
        ({"schedule": PLAIN | {"last_epoch": torch.ones(2)}}, r"its schedule\.last_epoch is a tensor of shape \(2,\)"),
        ({"schedule": PLAIN | {"last_epoch": None}}, "its schedule is at step None, which is not a whole number"),
        (
            {"schedule": PLAIN | {"base_lrs": [1.0, 1.0]}},
            r"its schedule has base_lrs=\[1\.0, 1\.0\], ",
        ),
        ({"schedule": [1]}, r"its content does not belong to this run \("),
        ({"monitor": "text"}, r"its content does not belong to this run \("),
        ({}, "its content is of step 8"),
    ],
)
def test_a_planted_checkpoint_gives_way_to_the_older_one(
    tmp_path: Path, recipe: GPTRecipe, finished: Path, parts: dict[str, Any], reason: str
) -> None:
    """Its checksum is right."""
    cut_copy(finished, tmp_path)
    loaded = load_latest(tmp_path / "checkpoints")
    assert loaded is not None
    planted = checkpoint.save(tmp_path / "checkpoints", 10, loaded[1] | parts)
    with pytest.warns(UserWarning, match=f"Skipped .*{planted.name}: {reason}"):
        train(recipe, tmp_path)
    planted.unlink(missing_ok=True)
    loaded = load_latest(tmp_path / "checkpoints")
    expected = load_latest(finished / "checkpoints")
    assert loaded is not None and expected is not None and loaded[0] == 12
    assert all(torch.equal(loaded[1]["model"][name], weight) for name, weight in expected[1]["model"].items())
    assert steps_in(tmp_path) == list(range(1, 13))


def saved_of_step_10(folder: Path, **of_optimizer: Any) -> Path:
    """A checkpoint of step 10 as the run would have made it, but for some of its optimizer."""
    loaded = load_latest(folder / "checkpoints")
    assert loaded is not None
    state = loaded[1]
    state["schedule"]["last_epoch"] = 10
    state["optimizer"] |= of_optimizer
    return checkpoint.save(folder / "checkpoints", 10, state)


@pytest.mark.parametrize("what", ["empty", "betas", "lr", "shape"])
def test_a_state_of_the_optimizer_that_would_train_otherwise_gives_way(
    tmp_path: Path, recipe: GPTRecipe, finished: Path, what: str
) -> None:
    """It once went on from emptied moments without a word."""
    cut_copy(finished, tmp_path)
    loaded = load_latest(tmp_path / "checkpoints")
    assert loaded is not None
    groups, kept = loaded[1]["optimizer"]["param_groups"], loaded[1]["optimizer"]["state"]
    changes = {
        "empty": ({"state": {}}, "its optimizer's state is empty, although the run had taken steps"),
        "betas": (
            {"param_groups": [{**one, "betas": (0.9, 0.5)} for one in groups]},
            r"its optimizer has betas=\(0\.9",
        ),
        "lr": ({"param_groups": [{**one, "lr": torch.ones(2)} for one in groups]}, r"its optimizer has lr=a tensor of"),
        "shape": ({"state": {**kept, 0: {**kept[0], "exp_avg": torch.ones(3)}}}, "exp_avg of weight 0 has the shape"),
    }
    changed, reason = changes[what]
    planted = saved_of_step_10(tmp_path, **changed)
    with pytest.warns(UserWarning, match=rf"Skipped .*{planted.name}: .*{reason}"):
        train(recipe, tmp_path)
    assert load_latest(tmp_path / "checkpoints")[0] == 12  # pyright: ignore[reportOptionalSubscript]


def test_a_checkpoint_beyond_the_end_is_no_finished_run(tmp_path: Path, recipe: GPTRecipe, finished: Path) -> None:
    cut_copy(finished, tmp_path)
    loaded = load_latest(tmp_path / "checkpoints")
    assert loaded is not None
    loaded[1]["schedule"]["last_epoch"] = 20
    checkpoint.save(tmp_path / "checkpoints", 20, loaded[1])
    with pytest.warns(UserWarning, match="it is of step 20, but the run ends at step 12"):
        train(recipe, tmp_path)
    assert steps_in(tmp_path) == list(range(1, 13))


def test_a_folder_whose_name_is_no_utf_8_is_trained_in_and_resumed(
    tmp_path: Path, recipe: GPTRecipe, finished: Path
) -> None:
    folder = tmp_path / os.fsdecode(b"r\xe9sum\xe9")
    cut_copy(finished, folder)
    train(recipe, folder)
    assert_whole(folder, finished)
    page = write_page(*load_all([folder]), tmp_path / "page.html")
    assert "r\\udce9sum\\udce9" in page.read_text(encoding="utf-8")


# A user who may not, and a full disk: on the command line


RUN_BY_ANOTHER = """
import contextlib, io, json, os, resource, signal, sys, warnings
from pathlib import Path

import torch
import torch._dynamo
from steadydecay.cli import main
from steadydecay.recipes.checkpoint import checkpoints

torch.set_num_threads(1)
folder, arguments = Path(sys.argv[1]), sys.argv[2:]
run = folder / "run"
answers = {}


def train(name):
    shown = io.StringIO()
    with contextlib.redirect_stderr(shown):
        try:
            main([*arguments, "--out", str(run)])
            code = 0
        except SystemExit as left:
            code = left.code
    lines = [line for line in shown.getvalue().splitlines() if "  step " not in line]
    log = (run / "run.jsonl").read_text().count('"kind": "step"')
    answers[name] = {"code": code, "shown": lines, "logged": log}


train("first")
if os.getuid() == 0:  # For whom there are no modes.
    for path in (run, *run.rglob("*")):
        os.chown(path, 65534, 65534)
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
saved = run / "checkpoints"
newest, older = checkpoints(saved)
newest.path.unlink()
saved.chmod(0)
train("checkpoints of mode 000")
saved.chmod(0o700)
older.path.chmod(0)
train("the only checkpoint of mode 000")
older.path.chmod(0o600)
saved.chmod(0o500)
train("checkpoints of mode 500")
saved.chmod(0o700)
run.chmod(0o500)
train("a run of mode 500")
run.chmod(0o700)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, resource.RLIM_INFINITY))
train("no room for a checkpoint")
resource.setrlimit(resource.RLIMIT_FSIZE, (int(0.85 * (run / "run.jsonl").stat().st_size), resource.RLIM_INFINITY))
train("no room for a longer log")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
train("room")
answers["files"] = sorted(path.name for path in run.iterdir())
print(json.dumps(answers))
"""

SENTENCES = {
    "first": (0, r""),
    "checkpoints of mode 000": (2, r"steadydecay: \S+/checkpoints cannot be read \(Permission denied\), so its .*"),
    "the only checkpoint of mode 000": (2, r"(?s).*Skipped \S+: it cannot be read \(Permission denied\)\n.*\n"
                                           r"steadydecay: none of the 1 checkpoints in \S+ is whole, .*"),
    "checkpoints of mode 500": (2, r"steadydecay: the checkpoint of step 12 cannot be written to \S+/checkpoints "
                                   r"\(Permission denied\)\. Earlier checkpoints are unchanged\. .*"),
    "a run of mode 500": (2, r"steadydecay: .*Permission denied.*\S+/run.*"),
    "no room for a checkpoint": (2, r"steadydecay: the checkpoint of step 12 cannot be written to \S+/checkpoints "
                                    r"\(File too large\)\. Earlier checkpoints are unchanged\. .*"),
    "no room for a longer log": (2, r"steadydecay: .*File too large: '\S+/run\.jsonl'"),
    "room": (0, r""),
}  # fmt: skip


def test_a_run_that_may_not_read_or_write_says_so_and_loses_nothing(recipe: GPTRecipe) -> None:
    overrides = [f"{name}={value}" for name, value in SMALL.items()]
    overrides += ["precision=float32", "checkpoint_every=4", "evaluate_every=6", "layers_every=6"]
    options = ["--optimizer", "adamw", "--steps", "12"]
    with tempfile.TemporaryDirectory() as name:
        # Below pytest's own folder only its owner may read.
        folder = Path(name)
        folder.chmod(0o777)
        shutil.copytree(recipe.data or "", folder / "text")
        (folder / "text").chmod(0o755)
        command = [sys.executable, "-c", RUN_BY_ANOTHER, name, "train", "gpt", *overrides, *options]
        done = subprocess.run(
            [*command, "--data", str(folder / "text")],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert answers.pop("files") == ["checkpoints", "run.jsonl"]
    assert list(answers) == list(SENTENCES)
    for what, answer in answers.items():
        code, sentence = SENTENCES[what]
        assert answer["code"] == code, (what, answer)
        assert re.fullmatch(sentence, "\n".join(answer["shown"])), (what, answer)
        assert "Traceback" not in str(answer)
    assert [answer["logged"] for answer in answers.values()][:3] == [12, 12, 12], "nothing was cut"
    assert answers["room"]["logged"] == 12
