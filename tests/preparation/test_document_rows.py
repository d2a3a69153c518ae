"""The documents of real files of each kind, whole and from any of them on."""

import gzip
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from steadydecay.preparation import document_rows as module
from steadydecay.preparation.document_rows import Reading, document_rows, require_readable
from steadydecay.preparation.source_files import SourceError, SourceFile, kind_of

TEXTS = ["first\nof all", "", "Größe 🙂", "  spaces ", "x" * 2000, "last"]
READING = Reading("text")


def source_file(path: Path) -> SourceFile:
    return SourceFile(str(path), path.name, kind_of(path.name), path.stat().st_size)


def contents(path: Path, reading: Reading = READING) -> list[bytes]:
    return [row.content for row in document_rows(source_file(path), reading)]


def write_parquet(path: Path, texts: list[Any], kind: Any = None, rows_per_group: int = 2) -> None:
    columns = {"text": pa.array(texts, kind or pa.string()), "id": [str(number) for number in range(len(texts))]}
    pq.write_table(pa.table(columns), path, row_group_size=rows_per_group)


def packed(path: Path, content: bytes) -> None:
    codec = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}.get(path.suffix)
    if codec is None:
        path.write_bytes(content)
        return
    with pa.CompressedOutputStream(str(path), codec) as file:
        file.write(content)


def write(path: Path, texts: list[str]) -> None:
    """The texts in a file of the kind that its name says."""
    if kind_of(path.name) == "parquet":
        write_parquet(path, texts)
    elif kind_of(path.name) == "JSON lines":
        packed(path, "".join(json.dumps({"id": 1, "text": text}) + "\n" for text in texts).encode())
    else:
        packed(path, "<|endoftext|>".join(texts).encode())


KINDS_OF_TEXT = [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view()]
KINDS_OF_TEXT += [pa.dictionary(pa.int32(), pa.string())]
NAMES = ["a.parquet", "a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.json.bz2", "a.txt", "a.txt.gz", "a"]


@pytest.mark.parametrize("name", NAMES)
def test_documents_come_in_order_from_any_of_them_on(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, TEXTS)
    expected = [text.encode() for text in TEXTS]
    for skip in range(len(TEXTS) + 1):
        assert contents(tmp_path / name, READING._replace(skip=skip)) == expected[skip:]


@pytest.mark.parametrize("name", NAMES)
def test_the_share_that_is_read_rises_to_all_of_it(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, TEXTS)
    file = source_file(tmp_path / name)
    read = [row.bytes_read for row in document_rows(file, READING)]
    assert all(before <= after for before, after in pairwise(read))
    assert read[-1] == file.size


@pytest.mark.parametrize("kind", KINDS_OF_TEXT, ids=str)
def test_parquet_columns_of_all_kinds_of_text(tmp_path: Path, kind: Any) -> None:
    write_parquet(tmp_path / "a.parquet", ["a", None, "ä"], kind)
    assert contents(tmp_path / "a.parquet") == [b"a", b"", "ä".encode()]


def test_packed_files_of_several_parts_are_read_to_their_end(tmp_path: Path) -> None:
    parts = [gzip.compress(json.dumps({"text": text}).encode() + b"\n") for text in ("a", "b")]
    (tmp_path / "a.jsonl.gz").write_bytes(b"".join(parts))
    assert contents(tmp_path / "a.jsonl.gz") == [b"a", b"b"]


def test_another_key(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"content": "a", "text": 1}\n')
    assert contents(tmp_path / "a.jsonl", Reading("content")) == [b"a"]


def test_text_that_is_not_utf8_is_passed_on_as_it_is(tmp_path: Path) -> None:
    """Latin-1 in a file, a line, a column; and half a character, which JSON can hold."""
    (tmp_path / "a.txt").write_bytes(b"Gr\xf6\xdfe")
    assert contents(tmp_path / "a.txt") == [b"Gr\xf6\xdfe"]
    write_parquet(tmp_path / "a.parquet", [b"Gr\xf6\xdfe"], pa.binary())
    assert contents(tmp_path / "a.parquet") == [b"Gr\xf6\xdfe"]
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "Gr\xf6\xdfe"}\n{"text": "\\ud83d"}\n{"text": "\\ud83d\\ude42"}\n')
    latin, half, whole = contents(tmp_path / "a.jsonl")
    assert whole == "🙂".encode()
    for text in (latin, half):
        with pytest.raises(UnicodeDecodeError):
            text.decode()


@pytest.mark.parametrize("line", ["", "a line of a text, Größe\n"], ids=["without lines", "in lines"])
def test_a_long_text_is_cut_after_lines_into_documents(
    tmp_path: Path, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST_TEXT", 1_000)
    text = (line or "🙂ä") * 1_500
    (tmp_path / "a.txt").write_text(text + "<|endoftext|>short", encoding="utf-8")
    found = [content.decode() for content in contents(tmp_path / "a.txt")]
    assert "".join(found[:-1]) == text and found[-1] == "short"
    assert all(len(one.encode()) <= 1_000 for one in found)
    assert min(len(one.encode()) for one in found[:-2]) > 900
    assert not line or all(one.endswith("\n") for one in found[:-2])


# Bad files


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '{"text": "a"}\n{"tex',
            r"line 2 of .*a\.jsonl is not JSON \(.*\); correct the line, or download the file again",
        ),
        ('{"id": 1, "body": "a"}', r"line 1 of .*jsonl has no key 'text'; it has id, body. Say with --text-key which"),
        ('["text"]', r"line 1 of .*a\.jsonl has no key 'text'; it has a list"),
        ('{"text": ["a"]}', r"'text' in line 1 of .*a\.jsonl is a list; it must be a string or null"),
        ("[" * 100_000, r"line 1 of .*a\.jsonl is not JSON"),
    ],
    ids=["cut off", "other keys", "a list", "a list of texts", "deep"],
)
def test_a_line_that_holds_no_document_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.jsonl").write_text(content)
    with pytest.raises(SourceError, match=message):
        contents(tmp_path / "a.jsonl")


def test_a_parquet_file_that_is_cut_off_is_refused_before_it_is_read(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", TEXTS)
    whole = (tmp_path / "a.parquet").read_bytes()
    for length in (0, 3, len(whole) // 2, len(whole) - 1):
        (tmp_path / "a.parquet").write_bytes(whole[:length])
        with pytest.raises(SourceError, match=r"a\.parquet cannot be read \(.*\); download the file again"):
            require_readable(source_file(tmp_path / "a.parquet"), "text")


def test_a_parquet_file_that_is_broken_within_is_named(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", [f"{number} {'word ' * number}" for number in range(300)], rows_per_group=100)
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    content[10:500] = bytes(490)
    (tmp_path / "a.parquet").write_bytes(content)
    require_readable(source_file(tmp_path / "a.parquet"), "text")
    with pytest.raises(SourceError, match=r"a\.parquet cannot be read \(.*\); download the file again"):
        contents(tmp_path / "a.parquet")


def test_a_packed_file_that_is_cut_off_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl.gz", [str(number) for number in range(1_000)])
    (tmp_path / "a.jsonl.gz").write_bytes((tmp_path / "a.jsonl.gz").read_bytes()[:-30])
    with pytest.raises(SourceError, match=r"a\.jsonl\.gz cannot be read \(Truncated compressed stream\)"):
        contents(tmp_path / "a.jsonl.gz")


def test_a_missing_column_is_named_with_those_there_are(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", ["a"])
    file = source_file(tmp_path / "a.parquet")
    with pytest.raises(SourceError, match=r"a\.parquet has no column 'body'; it has text, id. Say with --text-key"):
        require_readable(file, "body")
    write_parquet(tmp_path / "a.parquet", [["a"]], pa.list_(pa.string()))
    with pytest.raises(SourceError, match=r"the column 'text' of .* has the type list<.*>; it must contain strings"):
        require_readable(file, "text")


@pytest.mark.parametrize("name", ["a.jsonl", "a.txt"])
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, ["first", "\ufefflast"])
    (tmp_path / name).write_bytes("\ufeff".encode() + (tmp_path / name).read_bytes())
    assert contents(tmp_path / name) == [b"first", "\ufefflast".encode()]
    assert contents(tmp_path / name, READING._replace(skip=1)) == ["\ufefflast".encode()]
