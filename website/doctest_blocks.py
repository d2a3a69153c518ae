"""An extension of griffe: examples of a docstring, which doctest runs, become blocks of code on the site."""

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"^>>> .*(?:\n(?!\s*$).*)*", re.MULTILINE)


class DoctestBlocks(griffe.Extension):
    """Fences every example; Markdown would take its >>> for a quotation."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = fenced(obj.docstring.value)


def fenced(docstring: str) -> str:
    """The docstring with a fence around each example.

    >>> print(fenced("Doubles.\\n\\n>>> 2 * 3\\n6").replace("`", "'"))
    Doubles.
    <BLANKLINE>
    '''pycon
    >>> 2 * 3
    6
    '''
    """
    return EXAMPLE.sub(lambda example: f"```pycon\n{example[0]}\n```", docstring)
