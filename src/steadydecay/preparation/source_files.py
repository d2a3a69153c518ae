"""List the files that a path or a URL names as a corpus, in a fixed order."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, final

from steadydecay.recipes.left_out import DANGLING, SPECIAL, UNREADABLE, LeftOut
from steadydecay.recipes.no_text import START_BYTES, is_text, what_it_is
from steadydecay.recipes.texts import files_below
from steadydecay.run_log.plain_file import open_plain, special_kind

Kind = Literal["parquet", "JSON lines", "text"]
# A folder is read as the first of these kinds that it contains.
KINDS: tuple[Kind, ...] = ("parquet", "JSON lines", "text")
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}
JSON_LINES = (".jsonl", ".ndjson")
LOOKED_AT = 2**16


class SourceFile(NamedTuple):
    """One file of a corpus.

    Attributes:
        path: A local path, or a URL.
        name: The name within the source, for messages.
        kind: How to read it.
        size: The size in bytes.
    """

    path: str
    name: str
    kind: Kind
    size: int


@final
class SourceError(ValueError):
    """The documents of a file cannot be read. The message names the file and the remedy."""


class Opened(NamedTuple):
    """An open file: `stream` yields its unpacked bytes, and `raw` is the file as it is stored."""

    stream: Any
    raw: BinaryIO


def source_files(source: str) -> tuple[list[SourceFile], LeftOut]:
    """List the files of a corpus, and what in its folder is not read.

    Args:
        source: A file, a folder, or a URL that fsspec knows (hf://datasets/...), which may contain *.

    Raises:
        OSError: The source does not exist or cannot be read.
        ValueError: Nothing in the source can be read as documents.
    """
    if not source:
        raise ValueError("source is '', perhaps because a shell variable is not set; give a path or a URL")
    if is_remote(source):
        return _of_one_kind(source, _remote_files(source), LeftOut())
    path = Path(source)
    if not path.exists():
        raise FileNotFoundError(
            f"source is {source!r}, which does not exist. Give a text, JSON lines or parquet file, a folder of them, "
            "or a "
            "URL such as hf://datasets/HuggingFaceFW/fineweb-edu/sample/10BT."
        )
    return _folder_files(source, path) if path.is_dir() else ([_single_file(path)], LeftOut())


def listing(files: list[SourceFile]) -> dict[str, Any]:
    """Summarise the files for the manifest: their number, their size, and a hash that identifies them."""
    names = json.dumps([(file.name, file.size) for file in files])
    return {
        "files": len(files),
        "bytes": sum(file.size for file in files),
        "sha256": hashlib.sha256(names.encode()).hexdigest(),
    }


@contextmanager
def opened(file: SourceFile) -> Iterator[Opened]:
    """Open and unpack a file. Errors in the block that its content or the network causes name the file.

    Raises:
        OSError: The file cannot be opened.
        SourceError: Reading the file failed.
    """
    try:
        with _raw(file.path) as raw:
            yield Opened(_unpacked(file.path, raw), raw)
    except SourceError:
        raise
    # Parquet readers, decompressors and networks may raise anything.
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        told = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise SourceError(
            f"{file.path} cannot be read ({told}); download the file again, or wait for the network, and run the same "
            "command once more"
        ) from error


def is_remote(path: str) -> bool:
    return "://" in path


def kind_of(name: str) -> Kind:
    """Return how to read a file, judging by the end of its name.

    >>> kind_of("train-00000.parquet"), kind_of("c4.json.gz"), kind_of("package.json")
    ('parquet', 'JSON lines', 'text')
    """
    packed = Path(name).suffix in COMPRESSIONS
    stem = str(Path(name).with_suffix("")) if packed else name
    if stem.endswith(".parquet"):
        return "parquet"
    return "JSON lines" if stem.endswith(JSON_LINES) or (packed and stem.endswith(".json")) else "text"


def _of_one_kind(source: str, files: list[SourceFile], left_out: LeftOut) -> tuple[list[SourceFile], LeftOut]:
    kind = next((kind for kind in KINDS if any(file.kind == kind for file in files)), None)
    if kind is None:
        raise ValueError(
            f"{source} contains no document; give text, JSON lines or parquet files"
            + (f". Left out: {left_out}" if left_out else "")
        )
    for file in files:
        left_out.add(file.name, "" if file.kind == kind else f"beside the {kind} files")
    return [file for file in files if file.kind == kind], left_out


def _single_file(path: Path) -> SourceFile:
    if kind := special_kind(path):
        raise ValueError(f"{path} is {kind}, but it must be a regular file. Save the content to a file and give that.")
    file = SourceFile(str(path), path.name, kind_of(path.name), path.stat().st_size)
    if why := _why_no_text(file):
        raise ValueError(f"{path} is {why}; it must be text, JSON lines or parquet")
    return file


def _folder_files(source: str, folder: Path) -> tuple[list[SourceFile], LeftOut]:
    left_out, files = LeftOut(), []
    for name, why in sorted((path.relative_to(folder).as_posix(), why) for path, why in files_below(folder)):
        file, why = (None, why) if why else _file_or_why_not(folder, name)
        left_out.add(name, why)
        files += [file] if file else []
    # Only files that would be read as text have to be text.
    if all(file.kind == "text" for file in files):
        whys = [_why_no_text(file) for file in files]
        for file, why in zip(files, whys, strict=True):
            left_out.add(file.name, why)
        files = [file for file, why in zip(files, whys, strict=True) if not why]
    return _of_one_kind(source, files, left_out)


def _file_or_why_not(folder: Path, name: str) -> tuple[SourceFile | None, str]:
    path = folder / name
    try:
        if special_kind(path):
            return None, SPECIAL
        with path.open("rb"):
            return SourceFile(str(path), name, kind_of(name), path.stat().st_size), ""
    except FileNotFoundError:
        return None, DANGLING
    except OSError:
        return None, UNREADABLE


def _why_no_text(file: SourceFile) -> str:
    if file.kind != "text":
        return ""
    with opened(file) as (stream, _):
        start = stream.read(LOOKED_AT)
    return "" if is_text(start) else what_it_is(start[:START_BYTES])


def _remote_files(url: str) -> list[SourceFile]:
    filesystem, path = _filesystem(url)
    try:
        found = filesystem.glob(path, detail=True) if "*" in path else filesystem.find(path, detail=True)
    except Exception as error:
        raise OSError(f"{url} cannot be listed ({str(error)[:200]}); check the URL and the network") from error
    if not found:
        raise FileNotFoundError(f"source is {url!r}, which does not exist; check the URL")
    start = len(path.partition("*")[0].rpartition("/")[0] if "*" in path else path.rstrip("/"))
    return [
        SourceFile(filesystem.unstrip_protocol(name), name[start:].strip("/") or name, kind_of(name), info["size"] or 0)
        for name, info in sorted(found.items())
        if info["type"] == "file" and not Path(name).name.startswith(".")
    ]


def _filesystem(url: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    try:
        return url_to_fs(url)
    except ImportError as error:
        raise ValueError(f"{url} needs a package that is not installed ({error})") from None


def _raw(path: str) -> Any:
    if not is_remote(path):
        return open_plain(Path(path))
    filesystem, name = _filesystem(path)
    return filesystem.open(name, "rb")


def _unpacked(path: str, raw: BinaryIO) -> Any:
    compression = COMPRESSIONS.get(Path(path).suffix)
    if compression is None:
        return raw
    import pyarrow

    return BufferedReader(pyarrow.input_stream(raw, compression=compression))  # pyright: ignore[reportArgumentType]
