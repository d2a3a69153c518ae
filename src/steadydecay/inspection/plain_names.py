"""Names of weights as the model has them, without what wrappers add."""

import re

from steadydecay.groups.places import BY_WRAPPERS

# Not what adapters insert, which keep a copy of a weight under its plain name.
INSERTED = re.compile(rf"(?:^|(?<=\.))(?:{BY_WRAPPERS})\.")
# DDP and DataParallel put this in front.
IN_FRONT = "module."


def plain_name(name: str) -> str:
    """The name without the prefixes of wrappers.

    >>> plain_name("module._orig_mod.blocks.0._orig_mod.up.weight")
    'blocks.0.up.weight'
    """
    return INSERTED.sub("", name).removeprefix(IN_FRONT)


def plain_names(names: list[str]) -> dict[str, str]:
    """Each name's plain form, or the name itself where two would become one."""
    plain = {name: plain_name(name) for name in names}
    is_one_to_one = len(set(plain.values())) == len(plain)
    return plain if is_one_to_one else {name: name for name in names}


def short_name(name: str) -> str:
    """Without the ".weight" that nearly all share.

    >>> short_name("blocks.0.up.weight"), short_name("blocks.0.up.bias")
    ('blocks.0.up', 'blocks.0.up.bias')
    """
    return name.removesuffix(".weight") or name


def natural_order(name: str) -> list[tuple[bool, int, str]]:
    """A key that sorts "layers.10" after "layers.2".

    >>> sorted(["b.10", "b.2", "a"], key=natural_order)
    ['a', 'b.2', 'b.10']
    """
    parts = re.split(r"([0-9]+)", name)
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]
