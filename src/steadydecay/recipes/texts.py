"""Read texts as bytes from the interpreter's standard library (no download), a file or a folder, and split them."""

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
    """Return the standard library's source code and prose without its tests, by relative path in sorted order."""
    return texts_below(Path(sysconfig.get_paths()["stdlib"]), EMBEDDED_SUFFIXES, NOT_EMBEDDED)


def split_texts(texts: dict[str, bytes]) -> tuple[list[bytes], list[bytes]]:
    """Split texts into training and validation by file, or at the end of each file if files are too few or unequal."""
    validation = [text for name, text in texts.items() if is_validation_file(name)]
    share = sum(map(len, validation)) / sum(map(len, texts.values()))
    low, high = LEGAL_VALIDATION_SHARE
    if len(texts) >= FEWEST_FILES_TO_SPLIT_BY_FILE and low <= share <= high:
        return [text for name, text in texts.items() if not is_validation_file(name)], validation
    parts = [_split_at_line_end(text) for text in texts.values()]
    return [train for train, _ in parts], [validation for _, validation in parts if validation]


def is_validation_file(relative_path: str) -> bool:
    """Return whether a file belongs to validation. The hash of its path alone decides, and selects one in ten.

    >>> is_validation_file("ast.py"), is_validation_file("argparse.py")
    (True, False)
    """
    return int(hashlib.sha256(os.fsencode(relative_path)).hexdigest(), 16) % VALIDATION_ONE_IN == 0


def split_file(path: Path) -> tuple[list[bytes], list[bytes]]:
    """Split one file into training and validation; the end of the file is for validation.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is empty, not text, or not a regular file.
    """
    text, why = _text(path)
    if not text:
        raise ValueError(f"{path} is {why or 'empty'}; it must be text, or token shards in files that end in .bin")
    train, validation = _split_at_line_end(text)
    return [train], [validation]


def _split_at_line_end(text: bytes) -> tuple[bytes, bytes]:
    """Return all but the last tenth, and the last tenth, split at an earlier line end if one is near."""
    cut = len(text) - len(text) // VALIDATION_ONE_IN
    nearby = min(FARTHEST_LINE_END, len(text) // (2 * VALIDATION_ONE_IN))
    line_end = text.rfind(b"\n", cut - nearby, cut)
    cut = cut if line_end < 0 else line_end + 1
    return text[:cut], text[cut:]


def texts_below(
    folder: Path, suffixes: tuple[str, ...] = ("",), skipped_folders: frozenset[str] = frozenset()
) -> dict[str, bytes]:
    """Read the text files below a folder, by relative path in sorted order; one warning says what is left out.

    Empty files, names with other suffixes and skipped folders are not mentioned, because nobody misses them.

    Raises:
        ValueError: There is no text.
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
            f"{folder} contains no text; give a folder with text files (not hidden) or .bin shards"
            + (f". Left out: {left_out}" if left_out else "")
        )
    warn_left_out(folder, left_out)
    return texts


def files_below(folder: Path, skipped_folders: frozenset[str] = frozenset()) -> Iterator[tuple[Path, str]]:
    """Yield each file below a folder with "", and everything that is not entered with the reason."""
    failed: list[OSError] = []
    for parent, folders, files in os.walk(folder, onerror=failed.append):
        below = [Path(parent, name) for name in folders if name not in skipped_folders]
        entered = [path for path in below if not (_is_hidden(path) or _is_link(path))]
        yield from ((path, HIDDEN if _is_hidden(path) else LINKED_FOLDER) for path in below if path not in entered)
        # os.walk enters the folders that remain in its own list.
        folders[:] = [path.name for path in entered]
        yield from ((Path(parent, name), HIDDEN if name.startswith(".") else "") for name in files)
    yield from ((Path(error.filename), UNREADABLE) for error in failed)


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".")


def _is_link(path: Path) -> bool:
    try:
        return path.is_symlink()
    except OSError:
        # The files of this folder cannot be looked up; os.walk then reports it.
        return False


def _text_or_why_not(path: Path) -> tuple[bytes | None, str]:
    try:
        # Check first, because a pipe would block the read.
        if special_kind(path):
            return None, SPECIAL
        return _text(path)
    except FileNotFoundError:
        return None, DANGLING
    except OSError:
        return None, UNREADABLE


def _text(path: Path) -> tuple[bytes | None, str]:
    """Return the content of a file and "", or None and a description if it is not text."""
    blocks = []
    with open_plain(path) as file:
        # Read no more than the size, because the file may grow, and stop at non-text: a sparse file may be endless
        # zeros.
        left = os.fstat(file.fileno()).st_size
        while block := file.read(min(left, BLOCK)):
            if not is_text(block):
                return None, what_it_is((blocks or [block])[0][:START_BYTES])
            blocks.append(block)
            left -= len(block)
    return b"".join(blocks), ""
