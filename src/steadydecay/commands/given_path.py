"""A path as a command line gives it: never the empty one, which would be the current folder."""

from pathlib import Path
from typing import Annotated

from tyro.constructors import PrimitiveConstructorSpec


def _path_of(texts: list[str]) -> Path:
    if not texts[0]:
        raise ValueError("it is '', as an unset variable of a shell gives it; legal is a path (. is this folder)")
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
