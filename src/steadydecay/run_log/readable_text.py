"""Text that any file, page and terminal can take: names of files need not be UTF-8, and JSON may hold half a character.

Python keeps a byte of a name that is no UTF-8 as a surrogate, which no encoder writes.
"""


def utf8(text: str) -> bytes:
    """The text in UTF-8; what no encoder takes stands there as Python's escape of it.

    >>> utf8("θ"), utf8("r\\udce9sum")
    (b'\\xce\\xb8', b'r\\\\udce9sum')
    """
    return text.encode(errors="backslashreplace")


def readable(text: str) -> str:
    """The text as `utf8` writes it.

    >>> readable("r\\udce9sum")
    'r\\\\udce9sum'
    """
    return utf8(text).decode()
