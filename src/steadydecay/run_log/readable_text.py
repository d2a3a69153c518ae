"""Text that any file, page and terminal accepts, although file names need not be UTF-8 and JSON may hold surrogates.

Python keeps a byte of a file name that is not UTF-8 as a surrogate, which no encoding can write.
"""


def utf8(text: str) -> bytes:
    """Encode text as UTF-8, with Python's escapes in place of what cannot be encoded.

    >>> utf8("θ"), utf8("r\\udce9sum")
    (b'\\xce\\xb8', b'r\\\\udce9sum')
    """
    return text.encode(errors="backslashreplace")


def readable(text: str) -> str:
    """Return the text as `utf8` would write it.

    >>> readable("r\\udce9sum")
    'r\\\\udce9sum'
    """
    return utf8(text).decode()
