"""Find what unpickling would take, without doing it: a few bytes may ask for gigabytes, or for 2¹⁰⁰ steps."""

import pickletools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple, final

from steadydecay.inspection.refusal import Refusal

# Far more than any real key, far less than C's stack holds when a hash visits all that is in a tuple.
DEEPEST_TUPLE = 100
# In memory, on a 64-bit CPython: an entry of a stack, one of a dict or set with what it grows by, and the rest.
SLOT_BYTES = 8
ENTRY_BYTES = 80
OBJECT_BYTES = {"EMPTY_LIST": 64, "EMPTY_DICT": 72, "EMPTY_SET": 224, "SETITEM": 80}
CALLED_BYTES = 1024
# How protocol 2 writes bytes, and byte arrays of them. Other codecs grow, and so do byte arrays of a given length.
LATIN = ("latin1", b"latin1")
REMEDY = "if you trust it, load it yourself and save model.state_dict()"

MAKERS_OF_BYTES = (" encode", " bytearray")


@final
class StorageClaim(NamedTuple):
    """What a pickle says of one storage.

    Attributes:
        kind: name of its class, such as "FloatStorage".
        key: name of its record.
        entries: how many entries it has.
    """

    kind: str
    key: str
    entries: int


def storage_claims(file: IO[bytes], most_bytes: int) -> Iterator[StorageClaim]:
    """Read one pickle up to its end without building anything, and list the storages that it names.

    Args:
        file: at the beginning of a pickle; afterwards behind it.
        most_bytes: that its content may take in memory, storages aside.

    Raises:
        Refusal: it takes more memory or time than it may.
        ValueError, IndexError: no pickle, or a damaged one.
    """
    stack = _Stack(most_bytes)
    for instruction, argument, _ in pickletools.genops(file):
        stack.run(instruction.name, argument)
        yield from stack.claims
        stack.claims.clear()


@final
class _Global(str):
    """The name of a class or a function."""


@final
class _Bytes(int):
    """How many bytes a call of `encode` made."""


@final
class _Tuple(NamedTuple):
    """Its size counts what is in it as often as it is there."""

    items: tuple[Any, ...]
    depth: int
    size: int


@final
@dataclass
class _Container:
    """A list, a dict, a set, or what a function returned."""

    size: int = 1


@final
@dataclass
class _Stack:
    """The stack of an unpickler: names, text, numbers, tuples and sizes of containers, None for all else."""

    most_bytes: int
    bytes: int = 0
    items: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    claims: list[StorageClaim] = field(default_factory=list)

    def run(self, name: str, argument: Any) -> None:
        text_bytes = 4 * len(argument) if isinstance(argument, str | bytes) else 0
        self.take(OBJECT_BYTES.get(name, SLOT_BYTES) + text_bytes)
        special = INSTRUCTIONS.get(name)
        special(self, argument) if special is not None else self.items.append(argument)

    def take(self, more: int) -> None:
        """Count bytes of memory."""
        self.bytes += more
        if self.bytes > self.most_bytes:
            raise Refusal(
                f"unpacks to more than {self.most_bytes:,} bytes beside the values of its tensors, far more than its "
                "size "
                f"explains; {REMEDY}"
            )

    def pop(self, count: int) -> list[Any]:
        start = len(self.items) - count
        if start < (self.marks[-1] if self.marks else 0):
            raise ValueError("its pickle takes more items than there are")
        taken = self.items[start:]
        del self.items[start:]
        return taken

    def pop_to_mark(self) -> list[Any]:
        if not self.marks:
            raise ValueError("its pickle takes more items than there are")
        return self.pop(len(self.items) - self.marks.pop())

    def push_tuple(self, items: list[Any]) -> None:
        depth = 1 + max((one.depth for one in items if isinstance(one, _Tuple)), default=0)
        if depth > DEEPEST_TUPLE:
            raise Refusal(f"nests more than {DEEPEST_TUPLE} tuples in each other; {REMEDY}")
        self.take(ENTRY_BYTES + SLOT_BYTES * len(items))
        self.items.append(_Tuple(tuple(items), depth, 1 + sum(map(_size, items))))

    def add(self, items: list[Any], entry_bytes: int) -> None:
        """Put items into the container on top."""
        self.take(entry_bytes * len(items))
        if self.items and isinstance(self.items[-1], _Container):
            self.items[-1].size += sum(map(_size, items))

    def set(self, items: list[Any]) -> None:
        """Put keys and values into it; to hash a key visits all of it."""
        self.take(sum(one.size for one in items[::2] if isinstance(one, _Tuple)))
        self.add(items, ENTRY_BYTES)

    def call(self) -> None:
        """A function on a tuple of arguments: what it returns holds them once more."""
        function, given = self.pop(2)
        arguments = given.items if isinstance(given, _Tuple) else (given,)
        name = function if isinstance(function, _Global) else _Global("")
        _require_harmless(name, arguments)
        size = sum(map(_size, arguments))
        makes_bytes = name.endswith(MAKERS_OF_BYTES)
        self.take(CALLED_BYTES + (1 if makes_bytes else ENTRY_BYTES) * size)
        self.items.append(_Bytes(size) if makes_bytes else _Container(size))

    def build(self) -> None:
        """An object takes its state over."""
        (state,) = self.pop(1)
        self.take(ENTRY_BYTES * _size(state))

    def claim(self) -> None:
        """A storage in the place of the tuple that names it."""
        (named,) = self.pop(1)
        match named:
            case _Tuple(("storage" | b"storage", _Global() as kind, str() | bytes() as key, _, int(entries), *_)):
                text = key.decode("ascii", "replace") if isinstance(key, bytes) else key
                self.claims.append(StorageClaim(kind.rpartition(" ")[2], text, entries))
            case _:
                pass
        self.items.append(None)

    def remember(self, index: int) -> None:
        self.memo[index] = self.items[-1] if self.items else None


def _size(value: Any) -> int:
    if isinstance(value, _Tuple | _Container):
        return value.size
    if isinstance(value, _Bytes):
        return int(value)
    return len(value) if isinstance(value, str | bytes) else 1


def _require_harmless(function: str, arguments: tuple[Any, ...]) -> None:
    module, _, name = function.rpartition(" ")
    is_latin = len(arguments) == 2 and isinstance(arguments[0], str) and arguments[1] in LATIN
    if name == "encode" and not is_latin:
        raise Refusal(f"encodes something other than latin1 text, which may grow at will; {REMEDY}")
    if name == "bytearray" and not all(isinstance(one, _Bytes) for one in arguments):
        raise Refusal(f"makes a byte array whose bytes are not in the file; {REMEDY}")
    if module.startswith("torch") and name.endswith(("Tensor", "Storage")) and arguments:
        raise Refusal(f"makes a {module}.{name} whose values are not in the file; {REMEDY}")


INSTRUCTIONS: dict[str, Callable[[_Stack, Any], Any]] = {
    "PROTO": lambda stack, _: None,
    "STOP": lambda stack, _: stack.pop(1),
    "MARK": lambda stack, _: stack.marks.append(len(stack.items)),
    "GLOBAL": lambda stack, name: stack.items.append(_Global(name)),
    "EMPTY_LIST": lambda stack, _: stack.items.append(_Container()),
    "EMPTY_DICT": lambda stack, _: stack.items.append(_Container()),
    "EMPTY_SET": lambda stack, _: stack.items.append(_Container()),
    "TUPLE": lambda stack, _: stack.push_tuple(stack.pop_to_mark()),
    "EMPTY_TUPLE": lambda stack, _: stack.push_tuple([]),
    "TUPLE1": lambda stack, _: stack.push_tuple(stack.pop(1)),
    "TUPLE2": lambda stack, _: stack.push_tuple(stack.pop(2)),
    "TUPLE3": lambda stack, _: stack.push_tuple(stack.pop(3)),
    "APPEND": lambda stack, _: stack.add(stack.pop(1), SLOT_BYTES),
    "APPENDS": lambda stack, _: stack.add(stack.pop_to_mark(), SLOT_BYTES),
    "SETITEM": lambda stack, _: stack.set(stack.pop(2)),
    "SETITEMS": lambda stack, _: stack.set(stack.pop_to_mark()),
    "REDUCE": lambda stack, _: stack.call(),
    "NEWOBJ": lambda stack, _: stack.call(),
    "BUILD": lambda stack, _: stack.build(),
    "BINPERSID": lambda stack, _: stack.claim(),
    "BINPUT": lambda stack, index: stack.remember(index),
    "LONG_BINPUT": lambda stack, index: stack.remember(index),
    "BINGET": lambda stack, index: stack.items.append(stack.memo.get(index)),
    "LONG_BINGET": lambda stack, index: stack.items.append(stack.memo.get(index)),
}
