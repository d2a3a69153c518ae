"""Why a file is not read."""

from typing import final


@final
class Refusal(ValueError):
    """Its text is the end of a sentence that begins with the file's name, and says what to do."""
