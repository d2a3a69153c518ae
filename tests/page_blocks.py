"""Code blocks of a page, and the numbers that stand beside them."""

import re
from typing import Any

NUMBER = re.compile(r"^(\S.*?)\s+# (-?[\d.]+)\.\.\.", re.MULTILINE)


def blocks_of(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def run_python_blocks(page: str, names: dict[str, Any]) -> list[str]:
    """Runs the Python of a page from top to bottom, in `names`, and returns its blocks."""
    blocks = blocks_of(page, "python")
    for block in blocks:
        exec(block, names)
    return blocks


def wrong_numbers(page: str, names: dict[str, Any]) -> list[str]:
    """Lines `call  # 0.5024...` of the Python of a page whose call gives another number."""
    found = [one for block in blocks_of(page, "python") for one in NUMBER.findall(block)]
    return [call for call, number in found if not str(eval(call, names)).startswith(number)]
