"""What is text and what is none, with bytes as encoders, compressors and cameras make them."""

import bz2
import gzip
import io
import lzma
import random
import tarfile
import zipfile

import pytest

from steadydecay.recipes.no_text import START_BYTES, UNKNOWN, is_text, what_it_is

GERMAN = "Der größte Bär läuft über die Brücke, „wie immer“.\n" * 50
RUSSIAN = "Привет, мир! Как дела?\n" * 50
JAPANESE = "日本語のテキストです。\n" * 50
CHINESE = "中文文本測試天地玄黃\n" * 50


@pytest.mark.parametrize(
    ("text", "encoding"),
    [(GERMAN, one) for one in ("utf-8", "utf-8-sig", "latin-1:replace", "cp1252", "mac_roman", "cp850:replace")]
    + [(RUSSIAN, one) for one in ("utf-8", "koi8-r", "cp1251", "iso8859-5")]
    + [(JAPANESE, one) for one in ("utf-8", "shift_jis", "euc_jp", "iso2022_jp")]
    + [(CHINESE, one) for one in ("utf-8", "big5", "gb18030")],
)
def test_text_in_any_encoding_is_text(text: str, encoding: str) -> None:
    name, _, errors = encoding.partition(":")
    assert is_text(text.encode(name, errors or "strict"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        b"a\r\nb\r\n\x1a",
        b"\x1b[31mred\x1b[0m\n" * 9,
        b"a\x01b\x01c\n" * 9,
        b"page\f\n\aword\b",
        b"\x7f stray",
    ],
)
def test_what_terminals_and_tables_write_is_text(content: bytes) -> None:
    assert is_text(content)


def test_a_block_that_cuts_characters_is_text() -> None:
    table = ("日本\x01語\x02" * 99).encode()
    assert all(is_text(table[start:stop]) for start in range(4) for stop in range(len(table) - 4, len(table)))
    assert not is_text(b"\xe9" + table)


@pytest.mark.parametrize("size", [150, 5_000, 100_000])
def test_compressed_bytes_without_a_nul_are_no_text(size: int) -> None:
    """As a picture may be: one that was cut, or a small one."""
    drawn = random.Random(size)
    picture = b"\xff\xd8\xff\xe1" + bytes(drawn.choices(range(1, 256), k=size))
    assert not is_text(picture)
    assert what_it_is(picture[:START_BYTES]) == UNKNOWN


def test_utf_16_without_a_nul_is_no_text() -> None:
    for encoding in ("utf-16", "utf-16-be"):
        content = "中文文本测试".encode(encoding)
        content = content if encoding == "utf-16" else b"\xfe\xff" + content
        assert b"\0" not in content and not is_text(content)
        assert what_it_is(content).startswith("in UTF-16 (use iconv -f UTF-16 -t UTF-8")


def packed(kind: str) -> bytes:
    file = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("a.txt", GERMAN)
    else:
        with tarfile.open(fileobj=file, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("a.txt"))
    return file.getvalue()


SHARD_START = (20240520).to_bytes(4, "little") + bytes(1020)
KINDS = {
    "a shard": (
        SHARD_START,
        "in the format of token shards, whose names end in .bin (rename it)",
    ),
    "gzip": (gzip.compress(GERMAN.encode()), "compressed with gzip (use gunzip"),
    "a shard in gzip": (gzip.compress(SHARD_START), "compressed with gzip (use gunzip"),
    "bzip2": (bz2.compress(GERMAN.encode()), "compressed with bzip2 (use bunzip2"),
    "xz": (lzma.compress(GERMAN.encode()), "compressed with xz (use unxz"),
    "zip": (packed("zip"), "packed as zip, "),
    "tar": (packed("tar"), "packed as tar (use tar -xf"),
    "UTF-16": (GERMAN.encode("utf-16"), "in UTF-16 (use iconv -f UTF-16 -t UTF-8"),
    "UTF-16LE": (RUSSIAN.encode("utf-16-le") + "a\n".encode("utf-16-le"), UNKNOWN),
    "UTF-16LE in Latin letters": (GERMAN.encode("utf-16-le"), "in UTF-16 (use iconv -f UTF-16LE -t UTF-8"),
    "UTF-16BE in Latin letters": (GERMAN.encode("utf-16-be"), "in UTF-16 (use iconv -f UTF-16BE -t UTF-8"),
    "UTF-32": (GERMAN.encode("utf-32"), "in UTF-32 (use iconv -f UTF-32 -t UTF-8"),
    "a picture": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)), UNKNOWN),
    "zeros": (bytes(2_000), UNKNOWN),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_remedy_is_that_of_the_kind(kind: str) -> None:
    content, told = KINDS[kind]
    assert not is_text(content)
    assert what_it_is(content[:START_BYTES]).startswith(told)
