"""Files that would block or never end are refused, and named by what they are."""

import os
import socket
from pathlib import Path

import pytest

from steadydecay.run_log.plain_file import open_plain


def test_a_plain_file_is_opened_also_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    for name in ("file", "link"):
        with open_plain(tmp_path / name) as file:
            assert file.read() == b"content"


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link"):
        with pytest.raises(ValueError, match=rf"{name} is a named pipe, but it must be a regular file"):
            open_plain(tmp_path / name)


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/tty", "/dev/full"])
def test_a_device_is_refused(device: str) -> None:
    with pytest.raises(ValueError, match=f"{device} is a device, but it must be a regular file"):
        open_plain(Path(device))


def test_folders_and_sockets_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("listener")
        with pytest.raises(ValueError, match="listener is a socket, but it must be a regular file"):
            open_plain(Path("listener"))
    with pytest.raises(ValueError, match="is a folder, but it must be a regular file"):
        open_plain(tmp_path)


def test_nothing_there_is_an_error_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("absent")
    for name in ("absent", "link"):
        with pytest.raises(FileNotFoundError, match=name):
            open_plain(tmp_path / name)
