"""The reason why a file is not read."""

from typing import final


@final
class Refusal(ValueError):
    """A file is refused. The text ends a sentence that begins with the file's name, and says what to do."""
