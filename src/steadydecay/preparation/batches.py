"""Group the documents of a corpus into batches of about a megabyte, after each of which the work can resume."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple, final

from steadydecay.preparation.document_rows import Reading, Row, document_rows
from steadydecay.preparation.source_files import SourceFile

BATCH_BYTES = 2**20
BATCH_ROWS = 1_024


class Place(NamedTuple):
    """Where to read the corpus next: the number of a file, and of a document in it."""

    file: int
    row: int


@final
@dataclass(frozen=True)
class Batch:
    """Consecutive documents of one file.

    Attributes:
        contents: The contents of the documents.
        begin, end: The places of the first document and after the last one.
        name: The name of the file.
        bytes_read: The number of bytes of the whole corpus up to the end of this batch.
    """

    contents: list[bytes]
    begin: Place
    name: str
    bytes_read: int

    @property
    def end(self) -> Place:
        return self.begin._replace(row=self.begin.row + len(self.contents))


def batches(files: Sequence[SourceFile], reading: Reading, begin: Place) -> Iterator[Batch]:
    """Yield the documents from a place on.

    Raises:
        OSError: A file cannot be opened.
        SourceError: A file is damaged, or a document is not where it should be.
    """
    before = list(accumulate((file.size for file in files), initial=0))
    for number in range(begin.file, len(files)):
        place = begin if number == begin.file else Place(number, 0)
        rows = document_rows(files[number], reading._replace(skip=place.row))
        for taken in _taken(rows):
            batch = Batch(
                [row.content for row in taken], place, files[number].name, before[number] + taken[-1].bytes_read
            )
            yield batch
            place = batch.end


def _taken(rows: Iterator[Row]) -> Iterator[list[Row]]:
    taken, size = [], 0
    for row in rows:
        taken.append(row)
        size += len(row.content)
        if size >= BATCH_BYTES or len(taken) >= BATCH_ROWS:
            yield taken
            taken, size = [], 0
    if taken:
        yield taken
