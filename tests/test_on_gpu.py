"""The script for machines with a GPU: its tasks are real commands that fit into ten minutes, and none costs another."""

import importlib.util
import io
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
MINUTES = 10


@pytest.fixture(scope="module")
def on_gpu() -> ModuleType:
    spec = importlib.util.spec_from_file_location("on_gpu", ROOT / "benchmarks" / "on_gpu.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_task_that_fails_or_hangs_is_named_and_costs_no_other_its_turn(on_gpu: ModuleType) -> None:
    tasks = {
        "fails": on_gpu.Task(["-c", "print('before'); raise SystemExit(3)"], 60),
        "hangs": on_gpu.Task(["-c", "import time; print('waiting'); time.sleep(60)"], 0.5),
        "works": on_gpu.Task(["-c", "import steadydecay; print(steadydecay.__file__)"], 60),
    }
    record = io.StringIO()
    assert on_gpu.run(tasks, record) == ["fails", "hangs"]
    lines = record.getvalue().splitlines()
    assert [line.rpartition(" after ")[0] for line in lines if line.startswith("==")] == [
        "== fails: exit status 3",
        "== hangs: stopped at its limit of 0.5 s",
        "== works: done",
    ]
    assert lines[0] == "before"
    assert lines[2] == "waiting"
    assert lines[4] == str(ROOT / "src" / "steadydecay" / "__init__.py")


def test_the_limits_of_all_tasks_fit_into_ten_minutes(on_gpu: ModuleType) -> None:
    assert sum(task.limit for task in on_gpu.TASKS.values()) <= 60 * MINUTES


def test_every_option_of_every_task_is_one_of_its_command(on_gpu: ModuleType) -> None:
    printed: dict[tuple[str, ...], str] = {}
    for name, task in on_gpu.TASKS.items():
        program = task.arguments[: 3 if "steadydecay.cli" in task.arguments else 2 if task.arguments[0] == "-m" else 1]
        options = [argument for argument in task.arguments if argument.startswith("--")]
        if not options:
            assert program[0] == "-m" or (ROOT / program[0]).is_file(), name
            continue
        if tuple(program) not in printed:
            helped = subprocess.run([sys.executable, *program, "--help"], cwd=ROOT, capture_output=True, text=True)
            printed[tuple(program)] = helped.stdout
        assert [option for option in options if option not in printed[tuple(program)]] == [], name


def test_without_a_gpu_it_says_so_and_writes_nothing(on_gpu: ModuleType) -> None:
    record = ROOT / on_gpu.RECORD
    before = record.read_bytes() if record.exists() else None
    script = [sys.executable, "benchmarks/on_gpu.py"]
    ended = subprocess.run(
        script, cwd=ROOT, capture_output=True, text=True, env={"CUDA_VISIBLE_DEVICES": "", "PATH": "/usr/bin"}
    )
    assert ended.returncode == 1
    assert "finds no GPU" in ended.stderr
    assert (record.read_bytes() if record.exists() else None) == before
