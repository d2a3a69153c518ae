"""Decide whether the bytes of a file are text and, if not, what they are and how to convert them to text.

Text may be in any encoding that avoids control characters: UTF-8, 8-bit encodings, and those of East Asia.
"""

import codecs

from steadydecay.recipes.token_shards import SHARD_MAGIC

NUL = b"\0"
# Control characters that no text contains; bell, backspace, tab, line and page ends, shifts, DOS end and escape may
# occur.
CONTROLS = bytes({*range(1, 32), 127} - {*b"\a\b\t\n\v\f\r\x0e\x0f\x1a\x1b"})
# UTF-16 in East Asian scripts may contain no NUL at all.
BYTE_ORDER_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# 8 % of random bytes are control characters, whereas many texts contain a stray one.
MOST_CONTROLS = 0.01
# The first bytes of a file, and the end of a sentence that begins with the file's name or with a number of files.
STARTS = {
    SHARD_MAGIC.to_bytes(4, "little"): "in the format of token shards, whose names end in .bin (rename it)",
    b"\xff\xfe\0\0": "in UTF-32 (use iconv -f UTF-32 -t UTF-8)",
    b"\0\0\xfe\xff": "in UTF-32 (use iconv -f UTF-32 -t UTF-8)",
    b"\xff\xfe": "in UTF-16 (use iconv -f UTF-16 -t UTF-8)",
    b"\xfe\xff": "in UTF-16 (use iconv -f UTF-16 -t UTF-8)",
    b"\x1f\x8b": "compressed with gzip (use gunzip)",
    b"BZh": "compressed with bzip2 (use bunzip2)",
    b"\xfd7zXZ": "compressed with xz (use unxz)",
    b"\x28\xb5\x2f\xfd": "compressed with zstd (use unzstd)",
    b"\x04\x22\x4d\x18": "compressed with lz4 (use unlz4)",
    b"PK": "packed as zip, as office documents are too (use unzip)",
    b"7z\xbc\xaf": "packed as 7z (use 7z x)",
    b"PAR1": "in parquet (write the text column to text files)",
    b"ARROW1": "in Arrow (write the text column to text files)",
    b"%PDF": "in PDF (use pdftotext)",
}
TAR_MARK = slice(257, 262)
UNKNOWN = "binary, with NUL bytes or control characters like those of images and programs"
# Enough bytes to recognise a file.
START_BYTES = 512


def is_text(block: bytes) -> bool:
    """Return whether a block of a file is text. It may begin and end in the middle of a character.

    >>> is_text("Größe".encode("latin-1")), is_text(b"a\\0b"), is_text(bytes(range(1, 256)))
    (True, False, False)
    """
    if NUL in block or block.startswith(BYTE_ORDER_MARKS):
        return False
    controls = len(block) - len(block.translate(None, CONTROLS))
    # Some tables use control characters as separators; if they are UTF-8, they count as text nevertheless.
    return controls <= 1 + MOST_CONTROLS * len(block) or _is_utf8(block)


def what_it_is(start: bytes) -> str:
    """Describe a file that is not text, as the end of a sentence, with a remedy if there is one.

    Args:
        start: The first `START_BYTES` bytes of the file.
    """
    if start[TAR_MARK] == b"ustar":
        return "packed as tar (use tar -xf)"
    told = next((told for mark, told in STARTS.items() if start.startswith(mark)), None)
    return told or _utf16_without_mark(start) or UNKNOWN


def _utf16_without_mark(start: bytes) -> str:
    """In most alphabets every second byte of UTF-16 is NUL."""
    counts = {"LE": start[1::2].count(0), "BE": start[0::2].count(0)}
    likely = max(counts, key=lambda order: counts[order])
    is_likely = counts[likely] > len(start) / 4 and min(counts.values()) < len(start) / 20
    return f"in UTF-16 (use iconv -f UTF-16{likely} -t UTF-8)" if is_likely else ""


def _is_utf8(block: bytes) -> bool:
    try:
        # A block may begin with up to three bytes that end a character of the block before.
        start = next((i for i, byte in enumerate(block[:3]) if byte & 0xC0 != 0x80), 0)
        codecs.getincrementaldecoder("utf-8")().decode(block[start:])
    except UnicodeDecodeError:
        return False
    return True
