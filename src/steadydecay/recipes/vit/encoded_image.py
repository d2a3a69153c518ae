"""An image as it is stored, before it is decoded."""

from pathlib import Path
from typing import NamedTuple


class Encoded(NamedTuple):
    """An image as it is stored.

    Attributes:
        name: A name for messages.
        content: The bytes of the image, or the file that contains them.
        label: The class of the image.
    """

    name: str
    content: bytes | Path
    label: int
