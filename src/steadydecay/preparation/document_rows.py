"""Read the documents of one file as UTF-8 bytes, in order and starting at any of them."""

import json
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

from steadydecay.preparation.source_files import SourceError, SourceFile, opened

# The separator between the documents of a text file, as in WebText and TinyStories.
SEPARATOR = b"<|endoftext|>"
# A text is cut into documents of at most about this many bytes, so that a file of any size fits into memory.
LONGEST_TEXT = 2**20
ROWS_AT_ONCE = 256
READ_AT_ONCE = 2**20
TEXT_TYPES = ("string", "large_string", "binary", "large_binary")


class Row(NamedTuple):
    """One document.

    Attributes:
        content: Its bytes, which may turn out not to be UTF-8; b"" if there is no text.
        bytes_read: Approximately how many bytes of the stored file have been read up to the end of the document.
    """

    content: bytes
    bytes_read: int


class Reading(NamedTuple):
    """How to find the documents of a file.

    Attributes:
        text_key: The key in JSON lines, and the column in parquet files.
        skip: The number of documents to skip.
    """

    text_key: str
    skip: int = 0


def document_rows(file: SourceFile, reading: Reading) -> Iterator[Row]:
    """Yield the documents of a file from number `reading.skip` on.

    Raises:
        OSError: The file cannot be opened.
        SourceError: The file is damaged, or a document is not where it should be.
    """
    with opened(file) as (stream, raw):
        yield from READERS[file.kind](file, stream, raw, reading)


def require_readable(file: SourceFile, text_key: str) -> None:
    """Check that a parquet file is complete and has the column, from its end alone. Other kinds cannot be checked
    early.

    Raises:
        OSError: The file cannot be opened.
        SourceError: The file is damaged or lacks the column.
    """
    if file.kind == "parquet":
        with opened(file) as (stream, _):
            _parquet_file(file, stream, text_key)


def _parquet_rows(file: SourceFile, stream: Any, raw: BinaryIO, reading: Reading) -> Iterator[Row]:
    import pyarrow

    table = _parquet_file(file, stream, reading.text_key)
    rows, skip, first_group = max(1, table.metadata.num_rows), reading.skip, 0
    while first_group < table.num_row_groups and skip >= table.metadata.row_group(first_group).num_rows:
        skip -= table.metadata.row_group(first_group).num_rows
        first_group += 1
    groups = range(first_group, table.num_row_groups)
    number = reading.skip
    for batch in table.iter_batches(ROWS_AT_ONCE, row_groups=groups, columns=[reading.text_key]):
        # As bytes, because text that is not UTF-8 must not end the file.
        column = batch.column(0).cast(pyarrow.large_binary())
        for value in column.slice(skip):
            number += 1
            yield Row(value.as_py() or b"", file.size * number // rows)
        skip = max(0, skip - len(column))


def _parquet_file(file: SourceFile, stream: Any, text_key: str) -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise SourceError(
            f"{file.path} needs pyarrow, which is not installed: pip install 'steadydecay[prepare]'"
        ) from None
    # A row group may be larger than memory, so it is read a page at a time.
    table = pyarrow.parquet.ParquetFile(stream, buffer_size=READ_AT_ONCE)
    schema = table.schema_arrow
    if text_key not in schema.names:
        raise SourceError(
            f"{file.path} has no column {text_key!r}; it has {', '.join(schema.names)}. Say with --text-key which of "
            "them contains the text."
        )
    if (kind := str(schema.field(text_key).type)) not in TEXT_TYPES:
        raise SourceError(
            f"the column {text_key!r} of {file.path} has the type {kind}; it must contain strings. Say with "
            f"--text-key which of {', '.join(schema.names)} contains the text."
        )
    return table


def _json_rows(file: SourceFile, stream: Any, raw: BinaryIO, reading: Reading) -> Iterator[Row]:
    for number, line in enumerate(stream):
        if number >= reading.skip:
            yield Row(_text_of_line(f"line {number + 1} of {file.path}", line, reading.text_key), raw.tell())


def _text_of_line(place: str, line: bytes, text_key: str) -> bytes:
    if not line.strip():
        return b""
    try:
        # Bytes that are not UTF-8 become surrogates, so that the line can be read and its text is checked later.
        record = json.loads(line.decode(errors="surrogateescape"))
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{place} is not JSON ({error}); correct the line, or download the file again") from None
    if not isinstance(record, dict) or text_key not in record:
        keys = ", ".join(map(str, record)) if isinstance(record, dict) else f"a {type(record).__name__}"
        raise SourceError(
            f"{place} has no key {text_key!r}; it has {keys}. Say with --text-key which of them contains the text."
        )
    text = record[text_key]
    if not isinstance(text, str | None):
        raise SourceError(f"{text_key!r} in {place} is a {type(text).__name__}; it must be a string or null")
    # A surrogate, which JSON can contain, also becomes bytes that are not UTF-8.
    return (text or "").encode(errors="surrogatepass")


def _text_rows(file: SourceFile, stream: Any, raw: BinaryIO, reading: Reading) -> Iterator[Row]:
    texts = _texts_between(stream)
    for number, text in enumerate(texts):
        if number >= reading.skip:
            yield Row(text, raw.tell())


def _texts_between(stream: Any) -> Iterator[bytes]:
    """Yield the texts between the separators. Texts longer than `LONGEST_TEXT` are cut at a line end."""
    rest = b""
    while block := stream.read(LONGEST_TEXT):
        *whole, rest = (rest + block).split(SEPARATOR)
        yield from whole
        while len(rest) > LONGEST_TEXT:
            cut = rest.rfind(b"\n", 0, LONGEST_TEXT) + 1 or _character_end(rest, LONGEST_TEXT)
            yield rest[:cut]
            rest = rest[cut:]
    yield rest


def _character_end(text: bytes, near: int) -> int:
    """Return the last place up to `near` at which a UTF-8 character begins."""
    return next((place for place in range(near, near - 4, -1) if text[place] & 0xC0 != 0x80), near)


READERS: dict[str, Callable[[SourceFile, Any, BinaryIO, Reading], Iterator[Row]]] = {
    "parquet": _parquet_rows,
    "JSON lines": _json_rows,
    "text": _text_rows,
}
