"""Whether the bytes of a file are text, and if not what they are and what makes text of them.

Text may be in any encoding that spares the control characters: UTF-8, the 8-bit ones, those of East Asia.
"""

import codecs

from steadydecay.recipes.token_shards import SHARD_MAGIC

NUL = b"\0"
# Those that no text has, beside NUL: not bells, backspaces, tabs, line and page ends, shifts, the end of DOS, escapes.
CONTROLS = bytes({*range(1, 32), 127} - {*b"\a\b\t\n\v\f\r\x0e\x0f\x1a\x1b"})
# Of UTF-16: in East Asian text it may be without a single NUL.
BYTE_ORDER_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# Of random bytes 8 % are controls; a stray one is in many texts.
MOST_CONTROLS = 0.01
# First bytes -> the end of a sentence that begins with a file's name or with how many there are.
STARTS = {
    SHARD_MAGIC.to_bytes(4, "little"): "of tokens, as shards, whose names end in .bin (rename it)",
    b"\xff\xfe\0\0": "in UTF-32 (iconv -f UTF-32 -t UTF-8 makes text of it)",
    b"\0\0\xfe\xff": "in UTF-32 (iconv -f UTF-32 -t UTF-8 makes text of it)",
    b"\xff\xfe": "in UTF-16 (iconv -f UTF-16 -t UTF-8 makes text of it)",
    b"\xfe\xff": "in UTF-16 (iconv -f UTF-16 -t UTF-8 makes text of it)",
    b"\x1f\x8b": "compressed by gzip (gunzip unpacks it)",
    b"BZh": "compressed by bzip2 (bunzip2 unpacks it)",
    b"\xfd7zXZ": "compressed by xz (unxz unpacks it)",
    b"\x28\xb5\x2f\xfd": "compressed by zstd (unzstd unpacks it)",
    b"\x04\x22\x4d\x18": "compressed by lz4 (unlz4 unpacks it)",
    b"PK": "packed as zip, as office documents are, too (unzip unpacks it)",
    b"7z\xbc\xaf": "packed as 7z (7z x unpacks it)",
    b"PAR1": "in parquet (write its column of texts to text files)",
    b"ARROW1": "in Arrow (write its column of texts to text files)",
    b"%PDF": "in PDF (pdftotext makes text of it)",
}
TAR_MARK = slice(257, 262)
UNKNOWN = "binary, with NUL bytes or control characters as images and programs have"
# Enough to tell a file by.
START_BYTES = 512


def is_text(block: bytes) -> bool:
    """Whether a block of a file is of a text; it may begin and end within a character.

    >>> is_text("Größe".encode("latin-1")), is_text(b"a\\0b"), is_text(bytes(range(1, 256)))
    (True, False, False)
    """
    if NUL in block or block.startswith(BYTE_ORDER_MARKS):
        return False
    controls = len(block) - len(block.translate(None, CONTROLS))
    # Some tables are separated by controls; what is UTF-8 is text for all that.
    return controls <= 1 + MOST_CONTROLS * len(block) or _is_utf8(block)


def what_it_is(start: bytes) -> str:
    """What a file is that holds no text: the end of a sentence, with a remedy where there is one.

    Args:
        start: its first `START_BYTES` bytes.
    """
    if start[TAR_MARK] == b"ustar":
        return "packed as tar (tar -xf unpacks it)"
    told = next((told for mark, told in STARTS.items() if start.startswith(mark)), None)
    return told or _utf16_without_mark(start) or UNKNOWN


def _utf16_without_mark(start: bytes) -> str:
    """In most alphabets every second byte is then NUL."""
    counts = {"LE": start[1::2].count(0), "BE": start[0::2].count(0)}
    likely = max(counts, key=lambda order: counts[order])
    is_likely = counts[likely] > len(start) / 4 and min(counts.values()) < len(start) / 20
    return f"in UTF-16 (iconv -f UTF-16{likely} -t UTF-8 makes text of it)" if is_likely else ""


def _is_utf8(block: bytes) -> bool:
    try:
        # Three bytes may be the end of a character of the block before.
        start = next((i for i, byte in enumerate(block[:3]) if byte & 0xC0 != 0x80), 0)
        codecs.getincrementaldecoder("utf-8")().decode(block[start:])
    except UnicodeDecodeError:
        return False
    return True
