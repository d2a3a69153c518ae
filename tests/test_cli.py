"""The command line: the main job end to end on a small text, and one line for each mistake."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from control_c import take_control_c
from steadydecay.cli import main
from steadydecay.recipes.checkpoint import checkpoints
from steadydecay.run_log.reader import read_log

TINY = ["layers=1", "width=32", "heads=1", "length=16", "batch_size=4", "evaluation_batches=2", "precision=float32"]
INSTALLED = Path(sys.executable).with_name("steadydecay")


@pytest.fixture(autouse=True)
def one_cpu_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder `text` in the current one."""
    monkeypatch.chdir(tmp_path)
    Path("text").mkdir()
    for name in ("argparse.py", "ast.py", "abc.py"):
        shutil.copy(Path(sysconfig.get_paths()["stdlib"]) / name, "text")


# The jobs


def test_compare_prints_the_table_and_writes_summary_report_and_picture(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--optimizers", "adamw,scion,scionc", "--data", "text", "--steps", "12", "--seed", "1", "2"]
    main(["compare", "gpt", *TINY, *options, "--out", "out/here"])
    shown = capsys.readouterr()
    assert all(name in shown.out for name in ("AdamW", "Scion", "ScionC", "validation loss", "±"))
    assert shown.out.splitlines()[-1] == "report: out/here/report.html"
    assert "scionc seed 2  step 12/12  loss " in shown.err
    out = Path("out/here")
    runs = json.loads((out / "summary.json").read_text())["runs"]
    expected = [(name, seed, 12) for name in ("adamw", "scion", "scionc") for seed in (1, 2)]
    assert [(run["optimizer"], run["seed"], run["steps"]) for run in runs] == expected
    page = (out / "report.html").read_text(encoding="utf-8")
    assert all(f"{name}-seed{seed}: predicted" in page for name, seed, _ in expected)
    assert (out / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_compare_again_trains_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["compare", "gpt", *TINY, "--optimizers", "scionc", "--data", "text", "--steps", "5", "--out", "out"]
    main(arguments)
    first = capsys.readouterr()
    main(arguments)
    second = capsys.readouterr()
    assert second.out == first.out
    assert "step 5/5" in first.err and second.err == ""
    main([*arguments, "--restart"])
    assert "step 5/5" in capsys.readouterr().err


def test_train_writes_a_run_with_what_was_asked_for() -> None:
    options = ["--optimizer", "adamw", "--seed", "3", "--steps", "6", "--data", "text/ast.py", "--out", "run"]
    main(["train", "gpt", *TINY, "lr=0.002", "clip=none", *options])
    configuration = read_log("run/run.jsonl").configuration
    asked = {"optimizer": "adamw", "seed": 3, "steps": 6, "data": "text/ast.py", "lr": 0.002, "clip": None, "width": 32}
    assert configuration.items() >= asked.items()
    assert configuration["size"] == "mini"
    assert checkpoints("run/checkpoints")[0].step == 6


def test_train_goes_on_where_it_was_cut(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", "gpt", *TINY, "checkpoint_every=4", "--steps", "6", "--data", "text", "--out", "run"]
    main(arguments)
    checkpoints("run/checkpoints")[0].path.unlink()
    capsys.readouterr()
    main(arguments)
    assert re.findall(r"step (\d)/6", capsys.readouterr().err) == ["5", "6"]


def test_an_override_wins_over_its_option() -> None:
    main(["train", "gpt", *TINY, "steps=2", "seed=4", "--steps", "9", "--data", "text", "--out", "run"])
    configuration = read_log("run/run.jsonl").configuration
    assert (configuration["steps"], configuration["seed"]) == (2, 4)


HELP = {(): ("train", "compare"), ("train",): ("--optimizer", "lr=0.03"), ("compare",): ("--optimizers", "--seed")}


@pytest.mark.parametrize("command", HELP)
def test_help_names_what_there_is(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([*command, "--help"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in HELP[command])


# Mistakes


def mistake(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a mistake shows on standard error."""
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    out, err = capsys.readouterr()
    assert out == "" and "Traceback" not in err
    return err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--optimizer", "scionn"], r"optimizer is 'scionn'; did you mean 'scion'\?"),
        (["--size", "minni"], r"size is 'minni'; did you mean 'mini'\?"),
        (["--data", "absent"], r"data is 'absent', which does not exist\. Give a text file, .*"),
        (["--data", "empty.txt"], r"empty\.txt is empty; it must be text, .*"),
        (["--data", "short.txt"], r"length is 16, but the training split of short\.txt has 9 tokens, .*"),
        (["--data", "broken.bin"], r"broken\.bin has 7 bytes, but a token shard has a header of 1024 bytes"),
        (["--data", "emptyfolder"], r"emptyfolder contains no text; .*"),
        (["--data", ""], r"data is '', perhaps because a shell variable is not set\. Give a path \(\. is .*"),
        (["data="], r"data is '', perhaps because a shell variable is not set\. .*"),
        (
            ["--data", "pipe"],
            r"pipe is a named pipe, but it must be a regular file\. Save the content to a file and give that\.",
        ),
        (["--data", "/dev/zero"], r"/dev/zero is a device, but it must be a regular file\. .*"),
        (
            ["--data", "utf16.txt"],
            r"utf16\.txt is in UTF-16 \(use iconv -f UTF-16.*\); it must be text, .*",
        ),
        (["--out", "pipe"], r".*pipe.*"),
        (["--steps", "0"], r"steps is 0; it must be in \[1, inf\)"),
        (["--out", "short.txt"], r".*short\.txt.*"),
        (["--out", "short.txt/below"], r".*short\.txt.*"),
        (["widht=16"], r"override names 'widht', which is not a field; did you mean 'width'\?"),
        (["width=x"], r"override width is 'x'; it must be of type int"),
        (["width"], r"override is 'width'; it must have the form name=value, such as lr=0\.03"),
        (["width=33"], r"width is 33; it must be a multiple of 2 · heads = 2 \(rotary pairs\)"),
        (["heads=0"], r"heads is 0; it must be in \[1, inf\)"),
        (["layers=0"], r"layers is 0; it must be in \[1, inf\)"),
        (["lr=0"], r"lr is 0\.0; it must be in \(0, inf\)"),
        (["accumulate=3"], r"accumulate is 3; it must be a divisor of batch_size=4"),
        (["evaluate_every=0"], r"evaluate_every is 0; it must be in \[1, inf\)"),
        (["warmup_steps=3"], r"warmup_steps is 3; it must be in \[0, 3\): it is part of steps"),
        (["precision=fp8"], r"precision is 'fp8'; it must be one of 'auto', 'float32', 'bfloat16'"),
        (["optimizer=adamw"], r"override names 'optimizer', which .* \(--optimizer\)"),
    ],
)
def test_a_mistake_is_one_line(changes: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty.txt").touch()
    Path("short.txt").write_text("ten bytes\n")
    Path("broken.bin").write_bytes(b"noshard")
    Path("emptyfolder").mkdir()
    Path("utf16.txt").write_text("text " * 99, encoding="utf-16")
    os.mkfifo("pipe")
    overrides = [change for change in changes if not changes[0].startswith("--")]
    options = changes if not overrides else []
    defaults = {"--data": "text", "--steps": "3", "--out": "run"}
    for name, value in defaults.items():
        options = options if name in options else [*options, name, value]
    err = mistake(["train", "gpt", *TINY, *overrides, *options], capsys)
    assert re.fullmatch(f"steadydecay: {message}\n", err), err


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "gpt", "--out", ""],
        ["compare", "gpt", "--out="],
        ["report", "text", "--out", ""],
        ["inspect", ""],
    ],
)
def test_an_empty_path_is_not_the_current_folder(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    err = " ".join(mistake(arguments, capsys).replace("│", " ").split())
    assert "it is '', perhaps because a shell variable is not set; give a path (. is the current folder)" in err
    assert [path.name for path in Path().iterdir()] == ["text"]
    assert "['']" in mistake(["report", ""], capsys)


def test_a_slash_at_the_end_of_the_data_is_no_other_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", "gpt", *TINY, "--steps", "2", "--out", "run", "--data"]
    for name in ("text", "text/", "./text"):
        main([*arguments, name])
    assert read_log("run/run.jsonl").configuration["data"] == "text"


def test_what_is_left_out_of_the_data_is_said_once_for_all_runs(capsys: pytest.CaptureFixture[str]) -> None:
    Path("text/other.txt").write_text("text " * 99, encoding="utf-16")
    Path("text/link").symlink_to(".")
    options = ["--optimizers", "adamw,scion", "--data", "text", "--steps", "2", "--out", "out"]
    with pytest.warns(UserWarning) as warned:
        main(["compare", "gpt", *TINY, *options])
    said = {str(one.message) for one in warned if "leaves out" in str(one.message)}
    (message,) = said
    assert message.startswith(
        "Training on text leaves out 1 behind a link to a folder, which is not followed: link; 1 in UTF-16"
    )
    assert message.endswith(": other.txt")


def test_a_diverged_run_names_step_and_parameter(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--optimizer", "adamw", "--data", "text", "--steps", "3", "--out", "run"]
    err = mistake(["train", "gpt", *TINY, "lr=1e30", *options], capsys).splitlines()[-1]
    assert re.fullmatch(
        r"steadydecay: NaN or infinity at step 2 \(loss .*\) in the gradient of 'embedding\.weight' \(.*", err
    )
    assert read_log("run/run.jsonl").records[-1]["kind"] == "failure"


def test_another_recipe_in_the_same_folder_names_what_changed(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", "gpt", *TINY, "--data", "text", "--out", "run", "--steps"]
    main([*arguments, "3"])
    capsys.readouterr()
    err = mistake([*arguments, "4"], capsys)
    assert re.fullmatch(r"steadydecay: run has a run of another recipe \(steps: 3, now 4.*\n", err)


def test_checkpoints_that_are_all_broken_are_said_so(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", "gpt", *TINY, "--data", "text", "--out", "run", "--steps", "1"]
    main(arguments)
    (checkpoint,) = checkpoints("run/checkpoints")
    checkpoint.path.write_bytes(b"broken")
    capsys.readouterr()
    with pytest.warns(UserWarning, match="Skipped"):
        err = mistake(arguments, capsys)
    assert err.startswith("steadydecay: none of the 1 checkpoints in run/checkpoints is whole, ")


@pytest.mark.parametrize("names", ["scion,scionx", "scion, scionc", "", "scion,"])
def test_compare_refuses_a_wrong_optimizer_before_it_trains(names: str, capsys: pytest.CaptureFixture[str]) -> None:
    err = mistake(["compare", "gpt", *TINY, "--optimizers", names, "--data", "text", "--out", "out"], capsys)
    wrong = names.split(",")[-1]
    assert re.fullmatch(rf"steadydecay: optimizer is '{wrong}'; (did you mean 'scionc?'\?|it must be .*)\n", err)
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        ([], "train, compare"),
        (["trian", "gpt"], "train, compare"),
        (["train"], "gpt"),
        (["train", "gtp"], "gpt"),
        (["train", "gpt", "--optimzer", "scion"], "--optimizer"),
        (["train", "gpt", "--steps", "many"], "--steps"),
    ],
)
def test_a_wrong_command_or_option_shows_the_right_one(
    arguments: list[str], nearest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert nearest in mistake(arguments, capsys)


def test_the_installed_command_shows_no_traceback() -> None:
    """Nor does a terminal of 40 columns break the line."""
    command = [INSTALLED, "train", "gpt", "--data", "absent", "--optimizer", "adamw"]
    narrow = os.environ | {"COLUMNS": "40"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=narrow)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch("steadydecay: data is 'absent', which does not exist. [^\n]*\n", done.stderr)


# Ctrl-C


def test_control_c_while_it_trains_is_one_line_and_the_run_goes_on_later(capsys: pytest.CaptureFixture[str]) -> None:
    """Also pressed twice."""
    options = ["--data", "text", "--steps", "100000", "--out", "run"]
    arguments = ["train", "gpt", *TINY, "checkpoint_every=5", "evaluate_every=50000", *options]
    command = [sys.executable, "-m", "steadydecay.cli", *arguments]
    single = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=take_control_c, env=single
    ) as trainer:
        deadline = time.monotonic() + 120
        while not checkpoints("run/checkpoints"):
            assert trainer.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        trainer.send_signal(signal.SIGINT)
        time.sleep(0.05)
        trainer.send_signal(signal.SIGINT)
        out, err = trainer.communicate(timeout=60)
    assert (trainer.returncode, out) == (2, "")
    shown = [line for line in err.splitlines() if "  step " not in line]
    assert shown == ["steadydecay: stopped by Ctrl-C; run the same command again to resume from the last checkpoint"]
    assert sorted(path.name for path in Path("run").iterdir()) == ["checkpoints", "run.jsonl"]
    assert not any(path.name.endswith(".tmp") for path in Path("run/checkpoints").iterdir())


@pytest.mark.parametrize("module", ["tyro", "torch"])
def test_control_c_while_it_loads_is_one_line(module: str) -> None:
    """Loading takes seconds."""
    Path(f"{module}.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\n")
    path = f"{Path.cwd()}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    done = subprocess.run(
        [sys.executable, "-m", "steadydecay.cli", "train", "gpt"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=take_control_c,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"steadydecay: stopped by Ctrl-C; [^\n]*\n", done.stderr)


def test_without_its_extra_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steadydecay.cli.find_spec", lambda name: None if name == "rich" else name)
    with pytest.raises(SystemExit, match=r"rich cannot be imported; .*pip install 'steadydecay\[recipes\]'"):
        main(["--help"])
