"""Texts from disk as bytes: the running interpreter's standard library (no download), a file, a folder; and splits."""

import hashlib
import os
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

DOCUMENT_SEPARATOR = b"\0"
VALIDATION_ONE_IN = 10
FEWEST_FILES_TO_SPLIT_BY_FILE = 20
LEGAL_VALIDATION_SHARE = (0.02, 0.3)
FARTHEST_LINE_END = 1024

EMBEDDED_SUFFIXES = (".py", ".txt", ".rst", ".md")
NOT_EMBEDDED = frozenset({"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"})


def embedded_files() -> dict[str, bytes]:
    """Source and prose of the running interpreter's standard library, without its tests, by relative path, in order."""
    return texts_below(Path(sysconfig.get_paths()["stdlib"]), EMBEDDED_SUFFIXES, NOT_EMBEDDED)


def split_texts(texts: dict[str, bytes]) -> tuple[list[bytes], list[bytes]]:
    """Train and validation, by file; by the end of each file where the files are too few or too unequal for that."""
    validation = [text for name, text in texts.items() if is_validation_file(name)]
    share = sum(map(len, validation)) / sum(map(len, texts.values()))
    low, high = LEGAL_VALIDATION_SHARE
    if len(texts) >= FEWEST_FILES_TO_SPLIT_BY_FILE and low <= share <= high:
        return [text for name, text in texts.items() if not is_validation_file(name)], validation
    parts = [_split_at_line_end(text) for text in texts.values()]
    return [train for train, _ in parts], [validation for _, validation in parts if validation]


def is_validation_file(relative_path: str) -> bool:
    """Whether the hash of the path puts a file into validation, as it does one in ten: whatever else is there.

    >>> is_validation_file("ast.py"), is_validation_file("argparse.py")
    (True, False)
    """
    return int(hashlib.sha256(os.fsencode(relative_path)).hexdigest(), 16) % VALIDATION_ONE_IN == 0


def split_file(path: Path) -> tuple[list[bytes], list[bytes]]:
    """Train and validation of one file, by its end.

    Raises:
        ValueError: the file is empty or no text.
    """
    if (text := _text(path)) is None:
        raise ValueError(f"{path} is empty or holds a NUL byte; legal is text, or token shards that end in .bin")
    train, validation = _split_at_line_end(text)
    return [train], [validation]


def _split_at_line_end(text: bytes) -> tuple[bytes, bytes]:
    """All but the last tenth, and the last tenth, moved back to a line end if one is near."""
    cut = len(text) - len(text) // VALIDATION_ONE_IN
    nearby = min(FARTHEST_LINE_END, len(text) // (2 * VALIDATION_ONE_IN))
    line_end = text.rfind(b"\n", cut - nearby, cut)
    cut = cut if line_end < 0 else line_end + 1
    return text[:cut], text[cut:]


def texts_below(
    folder: Path, suffixes: tuple[str, ...] = ("",), skipped_folders: frozenset[str] = frozenset()
) -> dict[str, bytes]:
    """The text files of a folder and its folders by relative path, in order; what cannot be read gives a warning.

    Raises:
        ValueError: there is none.
    """
    paths = {path.relative_to(folder).as_posix(): path for path in _files_below(folder, skipped_folders)}
    named = ((name, paths[name]) for name in sorted(paths) if name.endswith(suffixes))
    texts = {name: text for name, path in named if (text := _text_or_warning(path)) is not None}
    if not texts:
        raise ValueError(f"{folder} holds no text; legal is a folder with text files (not hidden, no NUL byte) or .bin")
    return texts


def _files_below(folder: Path, skipped_folders: frozenset[str]) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        # os.walk descends into what is left in its own list.
        folders[:] = [name for name in folders if name not in skipped_folders and not name.startswith(".")]
        paths = (Path(parent, name) for name in files if not name.startswith("."))
        # A named pipe or a socket would block the read.
        yield from (path for path in paths if path.is_file())


def _text_or_warning(path: Path) -> bytes | None:
    try:
        return _text(path)
    except OSError as error:
        warnings.warn(f"skipped {path}, which cannot be read: {error}", stacklevel=2)
        return None


def _text(path: Path) -> bytes | None:
    """The content of a file, or None if it is empty or no text."""
    with path.open("rb") as file:
        start = file.read(8192)
        # Most binary files show it in their first block; this spares reading a large one.
        content = start if DOCUMENT_SEPARATOR in start else start + file.read()
    return None if not content or DOCUMENT_SEPARATOR in content else content
