"""An image as it is stored, before it is decoded."""

from pathlib import Path
from typing import NamedTuple


class Encoded(NamedTuple):
    """An image as it is stored.

    Attributes:
        name: for messages.
        content: its bytes, or the file that holds them.
        label: its class.
    """

    name: str
    content: bytes | Path
    label: int
