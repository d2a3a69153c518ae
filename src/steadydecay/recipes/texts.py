"""Texts from disk as bytes: the running interpreter's standard library (no download), a file, a folder; and splits."""

import hashlib
import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from steadydecay.recipes.left_out import DANGLING, HIDDEN, LINKED_FOLDER, SPECIAL, UNREADABLE, LeftOut, warn_left_out
from steadydecay.recipes.no_text import START_BYTES, is_text, what_it_is
from steadydecay.run_log.plain_file import open_plain, special_kind

DOCUMENT_SEPARATOR = b"\0"
VALIDATION_ONE_IN = 10
FEWEST_FILES_TO_SPLIT_BY_FILE = 20
LEGAL_VALIDATION_SHARE = (0.02, 0.3)
FARTHEST_LINE_END = 1024
BLOCK = 2**20

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
        OSError: the file cannot be read.
        ValueError: the file is empty, no text, or no plain file.
    """
    text, why = _text(path)
    if not text:
        raise ValueError(f"{path} is {why or 'empty'}; legal is text, or token shards that end in .bin")
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
    """The text files of a folder and its folders by relative path, in order; one warning says what is left out.

    Empty files, names with other suffixes and skipped folders are not counted: nobody misses them.

    Raises:
        ValueError: there is none.
    """
    texts: dict[str, bytes] = {}
    left_out = LeftOut()
    named = sorted((path.relative_to(folder).as_posix(), why) for path, why in files_below(folder, skipped_folders))
    for name, why in named:
        if name.endswith(suffixes):
            text, why = (None, why) if why else _text_or_why_not(folder / name)
            texts |= {name: text} if text else {}
            left_out.add(name, why)
    if not texts:
        raise ValueError(
            f"{folder} holds no text; legal is a folder with text files (not hidden) or .bin"
            + (f": left out are {left_out}" if left_out else "")
        )
    warn_left_out(folder, left_out)
    return texts


def files_below(folder: Path, skipped_folders: frozenset[str] = frozenset()) -> Iterator[tuple[Path, str]]:
    """Files in a folder and its folders with "", and with the reason what is not looked into."""
    failed: list[OSError] = []
    for parent, folders, files in os.walk(folder, onerror=failed.append):
        below = [Path(parent, name) for name in folders if name not in skipped_folders]
        entered = [path for path in below if not (_is_hidden(path) or _is_link(path))]
        yield from ((path, HIDDEN if _is_hidden(path) else LINKED_FOLDER) for path in below if path not in entered)
        # os.walk descends into what is left in its own list.
        folders[:] = [path.name for path in entered]
        yield from ((Path(parent, name), HIDDEN if name.startswith(".") else "") for name in files)
    yield from ((Path(error.filename), UNREADABLE) for error in failed)


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".")


def _is_link(path: Path) -> bool:
    try:
        return path.is_symlink()
    except OSError:
        # In a folder whose files cannot be looked at; os.walk then says so.
        return False


def _text_or_why_not(path: Path) -> tuple[bytes | None, str]:
    try:
        # Looked at first: a pipe would block the read.
        if special_kind(path):
            return None, SPECIAL
        return _text(path)
    except FileNotFoundError:
        return None, DANGLING
    except OSError:
        return None, UNREADABLE


def _text(path: Path) -> tuple[bytes | None, str]:
    """The content of a file and "", or None and what it is if it is no text."""
    blocks = []
    with open_plain(path) as file:
        # No more than its size, for it may grow, and no further than text: a hole in a file is endless zeros.
        left = os.fstat(file.fileno()).st_size
        while block := file.read(min(left, BLOCK)):
            if not is_text(block):
                return None, what_it_is((blocks or [block])[0][:START_BYTES])
            blocks.append(block)
            left -= len(block)
    return b"".join(blocks), ""
