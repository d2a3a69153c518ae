"""A path from a command line. An empty one is refused, because Path would turn it into the current folder."""

from pathlib import Path
from typing import Annotated

from tyro.constructors import PrimitiveConstructorSpec


def _path_of(texts: list[str]) -> Path:
    if not texts[0]:
        raise ValueError("it is '', perhaps because a shell variable is not set; give a path (. is the current folder)")
    return Path(texts[0])


GivenPath = Annotated[
    Path,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=_path_of,
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda path: [str(path)],
    ),
]
