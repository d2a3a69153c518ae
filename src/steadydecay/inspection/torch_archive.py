"""The two containers of torch.save, checked before torch reads them: a zip of records, and before 1.6 five pickles."""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from steadydecay.inspection.foreign_files import DISTRIBUTED_SUFFIX, distributed, foreign_pickle, foreign_zip
from steadydecay.inspection.pickle_bounds import StorageClaim, storage_claims
from steadydecay.inspection.refusal import Refusal

ZIP_START = b"PK\x03\x04"
PICKLE_START = b"\x80"
# Before version 1.6: this number, the protocol, the machine, the content, the keys of its storages, then their values.
OLD_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
OLD_START_BYTES = 32
OLD_PICKLES = 5
# Bytes of an entry by the name of a storage's class; one for all others.
ENTRY_BYTES = {
    "ComplexDoubleStorage": 16,
    **dict.fromkeys(("DoubleStorage", "LongStorage", "ComplexFloatStorage"), 8),
    **dict.fromkeys(("FloatStorage", "IntStorage", "QInt32Storage"), 4),
    **dict.fromkeys(("HalfStorage", "BFloat16Storage", "ShortStorage"), 2),
}
# What a file may take in memory beside what is mapped: real ones hold little but tensors, and floats hardly shrink.
LEAST_ALLOWANCE = 2**26
ALLOWED_GROWTH = 16


def require_bounded(path: Path) -> bool:
    """Whether torch can map the file: all its records lie in it as they are.

    Raises:
        Refusal: another kind of file, or one that takes far more memory than it has bytes.
        Exception: a damaged one, in whichever way it fails.
    """
    most_bytes = LEAST_ALLOWANCE + ALLOWED_GROWTH * path.stat().st_size
    with path.open("rb") as file:
        start = file.read(OLD_START_BYTES)
        file.seek(0)
        if path.suffix == DISTRIBUTED_SUFFIX:
            raise Refusal(distributed(path.parent))
        if start.startswith(ZIP_START):
            # By that suffix torch takes any file for safetensors, unless it is given opened.
            return _require_bounded_zip(file, most_bytes) and path.suffix != ".safetensors"
        if OLD_MAGIC not in start:
            raise Refusal(foreign_pickle(path))
        for _ in range(OLD_PICKLES):
            for _ in storage_claims(file, most_bytes):
                pass
    return False


def _require_bounded_zip(file: BinaryIO, most_bytes: int) -> bool:
    archive = ZipFile(file)
    records = {record.filename: record for record in archive.infolist()}
    folder = next(iter(records), "").partition("/")[0]
    pickled = records.get(f"{folder}/data.pkl")
    if pickled is None or f"{folder}/constants.pkl" in records:
        raise Refusal(foreign_zip(records))
    if outside := next((name for name in records if not name.startswith(f"{folder}/")), ""):
        raise Refusal(
            f"contains {outside} outside of the folder {folder}, the only one that torch reads; remove that with zip -d"
        )
    if len({name.lower() for name in records}) < len(archive.infolist()):
        raise Refusal("is not a complete file of torch.save, because two of its records have one name; copy it again")
    methods = {record.compress_type for record in records.values()}
    if not methods <= {ZIP_STORED, ZIP_DEFLATED}:
        raise Refusal("is compressed in a way that torch cannot read; unpack it and run zip -r -0 on its folder")
    is_mapped = methods == {ZIP_STORED}
    _require_sizes(records.values(), pickled, most_bytes, is_mapped)
    claims = storage_claims(io.BytesIO(archive.read(pickled)), most_bytes)
    _require_records(claims, {name.removeprefix(f"{folder}/data/"): one.file_size for name, one in records.items()})
    return is_mapped


def _require_sizes(records: Iterable[ZipInfo], pickled: ZipInfo, most_bytes: int, is_mapped: bool) -> None:
    unpacked = pickled.file_size if is_mapped else sum(record.file_size for record in records)
    if unpacked > most_bytes:
        raise Refusal(
            f"is compressed and unpacks to {unpacked:,} bytes, which is more than {ALLOWED_GROWTH} times its size; "
            "if you trust it, load it yourself and save it again with torch.save"
        )


def _require_records(claims: Iterable[StorageClaim], sizes: Mapping[str, int]) -> None:
    """What is mapped is taken from where a record begins, whatever lies behind its end."""
    for claim in claims:
        claimed = claim.entries * ENTRY_BYTES.get(claim.kind, 1)
        if claimed > sizes.get(claim.key, 0):
            raise Refusal(
                f"is not a complete file of torch.save: a tensor needs {claimed:,} bytes of its record {claim.key!r}, "
                "which "
                f"has {sizes.get(claim.key, 0):,}; copy it again"
            )
