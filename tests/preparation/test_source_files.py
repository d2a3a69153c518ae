"""What a path or a URL names as a corpus: real folders, and fsspec's files in memory in place of a network."""

import gzip
import os
from pathlib import Path

import fsspec
import pytest

from steadydecay.preparation import source_files as module
from steadydecay.preparation.document_rows import Reading, document_rows
from steadydecay.preparation.source_files import SourceError, SourceFile, listing, opened, source_files


def filled(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(b"text") if name.endswith(".gz") else b"text")
    return folder


def test_a_folder_is_read_in_the_order_of_its_paths(tmp_path: Path) -> None:
    files, left_out = source_files(str(filled(tmp_path, "b/2.md", "a.txt", "b/10.py")))
    assert [(file.name, file.kind, file.size) for file in files] == [
        ("a.txt", "text", 4),
        ("b/10.py", "text", 4),
        ("b/2.md", "text", 4),
    ]
    assert not left_out


@pytest.mark.parametrize(
    ("names", "read", "left_out"),
    [
        (("README.md", "a.jsonl", "data/x.parquet"), ["data/x.parquet"], "2 beside the parquet files: README.md, a.js"),
        (("README.md", "a.jsonl", "b.json.gz"), ["a.jsonl", "b.json.gz"], "1 beside the JSON lines files: README.md"),
        (("package.json", ".git/config", "a.txt.gz"), ["a.txt.gz", "package.json"], "1 hidden: .git"),
    ],
    ids=["parquet", "JSON lines", "text"],
)
def test_a_folder_is_read_as_one_kind(tmp_path: Path, names: tuple[str, ...], read: list[str], left_out: str) -> None:
    files, without = source_files(str(filled(tmp_path, *names)))
    assert [file.name for file in files] == read
    assert str(without).startswith(left_out)


def test_what_is_no_text_is_left_out_and_named(tmp_path: Path) -> None:
    filled(tmp_path, "a.txt", "b.xz", "c", "d")
    (tmp_path / "b.xz").write_bytes(b"\xfd7zXZ\0")
    (tmp_path / "c").write_bytes("utf-16".encode("utf-16"))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to("nowhere")
    files, left_out = source_files(str(tmp_path))
    assert [file.name for file in files] == ["a.txt", "d"]
    assert "1 compressed with xz (use unxz): b.xz" in str(left_out)
    assert "1 in UTF-16 (use iconv -f UTF-16 -t UTF-8): c" in str(left_out)
    assert "1 special (a pipe, socket or device): pipe" in str(
        left_out
    ) and "1 with a missing link target: dangling" in str(left_out)


def test_a_folder_without_text_is_refused_with_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "a.xz").write_bytes(b"\xfd7zXZ\0")
    with pytest.raises(ValueError, match=r"contains no document; give .*\. Left out: 1 compressed with xz .*: a\.xz$"):
        source_files(str(tmp_path))


def test_a_single_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("utf-16".encode("utf-16"))
    with pytest.raises(
        ValueError, match=r"a\.txt is in UTF-16 \(use iconv .*\); it must be text, JSON lines or parquet"
    ):
        source_files(str(tmp_path / "a.txt"))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match=r"pipe is a named pipe, but it must be a regular file"):
        source_files(str(tmp_path / "pipe"))


def test_what_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent', which does not exist\. Give a text, JSON lines or"):
        source_files(str(tmp_path / "absent"))
    with pytest.raises(ValueError, match=r"source is '', perhaps because a shell variable is not set"):
        source_files("")
    with pytest.raises(FileNotFoundError, match=r"source is 'memory://absent', which does not exist; check the URL"):
        source_files("memory://absent")
    with pytest.raises(ValueError, match="Protocol not known: nonsense"):
        source_files("nonsense://x")


def test_a_listing_knows_names_and_sizes_and_no_folder(tmp_path: Path) -> None:
    files, _ = source_files(str(filled(tmp_path / "here", "a.txt", "b.txt")))
    moved, _ = source_files(str((tmp_path / "here").rename(tmp_path / "there")))
    assert listing(files) == listing(moved)
    assert (listing(files)["files"], listing(files)["bytes"]) == (2, 8)
    (tmp_path / "there/b.txt").write_text("texts")
    assert listing(source_files(str(tmp_path / "there"))[0]) != listing(files)


@pytest.mark.parametrize("url", ["memory://corpus", "memory://corpus/", "memory://corpus/*/*.jsonl.gz"])
def test_a_url_is_listed_and_streamed(url: str) -> None:
    memory = fsspec.filesystem("memory")
    for name in ("b/2", "a/1"):
        memory.pipe(f"/corpus/{name}.jsonl.gz", gzip.compress(f'{{"text": "{name}"}}\n'.encode()))
    memory.pipe("/corpus/README.md", b"about")
    try:
        files, _ = source_files(url)
        assert [(file.path, file.name) for file in files] == [
            ("memory:///corpus/a/1.jsonl.gz", "a/1.jsonl.gz"),
            ("memory:///corpus/b/2.jsonl.gz", "b/2.jsonl.gz"),
        ]
        rows = [row for file in files for row in document_rows(file, Reading("text"))]
        assert [row.content for row in rows] == [b"a/1", b"b/2"]
    finally:
        memory.rm("/corpus", recursive=True)


def test_a_network_that_fails_is_an_error_a_person_can_read(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unreachable:
        def find(self, path: str, detail: bool) -> None:
            raise RuntimeError("connection refused")

        def open(self, path: str, mode: str) -> None:
            raise RuntimeError("connection lost")

    monkeypatch.setattr(module, "_filesystem", lambda url: (Unreachable(), url))
    with pytest.raises(OSError, match=r"hf://x cannot be listed \(connection refused\); check the URL and the"):
        source_files("hf://x")
    file = SourceFile("hf://x/a.parquet", "a.parquet", "parquet", 9)
    message = r"hf://x/a\.parquet cannot be read \(connection lost\); .* the same command"
    with pytest.raises(SourceError, match=message), opened(file):
        pass


def test_json_lines_in_utf16_are_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes('{"text": "a"}\n'.encode("utf-16"))
    with pytest.raises(ValueError, match=r"a\.jsonl is in UTF-16 \(use iconv .*\); it must be text, JSON lines"):
        source_files(str(tmp_path / "a.jsonl"))
