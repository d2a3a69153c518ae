"""Paths of a command line: runs, folders of runs and logs, each once; a clear word on anything else."""

import re
from pathlib import Path

import pytest

from report_logs import write_run
from steadydecay.report.find_logs import find_logs, unique_names


def make(*logs: Path) -> None:
    for log in logs:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text('{"kind": "step", "step": 1}\n')


def test_run_folders_folders_of_runs_and_logs_are_accepted_and_each_log_is_there_once(tmp_path: Path) -> None:
    first, second, deep = (tmp_path / name / "run.jsonl" for name in ("all/b", "all/a", "all/c/d"))
    other = tmp_path / "mine.jsonl"
    make(first, second, deep, other)
    (tmp_path / "link").symlink_to(tmp_path / "all")
    paths = [first.parent, other, tmp_path / "all", second, tmp_path / "link", tmp_path / "all" / "." / "a"]
    assert find_logs(paths) == ([first, other, second, deep], [])


def test_a_run_folder_stands_for_itself(tmp_path: Path) -> None:
    make(tmp_path / "run.jsonl", tmp_path / "checkpoints" / "run.jsonl")
    assert find_logs([tmp_path])[0] == [tmp_path / "run.jsonl"]


def test_folders_without_a_log_are_named_beside_the_others(tmp_path: Path) -> None:
    make(tmp_path / "run" / "run.jsonl")
    (tmp_path / "later").mkdir()
    (tmp_path / "odd" / "run.jsonl").mkdir(parents=True)
    logs, missing = find_logs([tmp_path / "later", tmp_path / "run", tmp_path / "odd"])
    assert len(logs) == 1
    assert missing == [f"{tmp_path / name} does not contain a run.jsonl yet" for name in ("later", "odd")]


def test_an_empty_log_is_a_run_that_has_not_begun(tmp_path: Path) -> None:
    (tmp_path / "run.jsonl").write_text("")
    assert find_logs([tmp_path / "run.jsonl"]) == ([tmp_path / "run.jsonl"], [])


def test_a_path_that_does_not_exist_is_an_error_even_beside_runs(tmp_path: Path) -> None:
    write_run(tmp_path / "run", steps=1)
    with pytest.raises(
        ValueError, match=r"run is '.*/typo', which does not exist; give the folder of a run, a folder of"
    ):
        find_logs([tmp_path / "run", tmp_path / "typo"])


@pytest.mark.parametrize(("name", "content"), [("x.txt", ""), ("x.txt", "hello\n"), ("run.jsonl", "hello\n")])
def test_a_file_that_is_no_log_is_an_error(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=rf"run is '.*/{name}', which contains no record of a run; give"):
        find_logs([tmp_path / name])


def test_no_run_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=rf"no run was found \({re.escape(str(tmp_path))} does not contain a run.jsonl yet\); give"
    ):
        find_logs([tmp_path])
    with pytest.raises(ValueError, match=r"no run was found \(no path is given\)"):
        find_logs([])


def test_names_are_as_short_as_they_can_be_while_they_differ(tmp_path: Path) -> None:
    logs = [tmp_path / name / "run.jsonl" for name in ("one/scion", "two/scion", "two/adamw")]
    assert list(unique_names(logs).values()) == ["one/scion", "two/scion", "two/adamw"]
    assert list(unique_names(logs[1:]).values()) == ["scion", "adamw"]
    both = [tmp_path / "run" / name for name in ("a.jsonl", "b.jsonl")]
    assert list(unique_names(both).values()) == ["run/a.jsonl", "run/b.jsonl"]
