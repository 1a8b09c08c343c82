"""NumPy arrays by name in a pickle, read without running it.

A pickle is a program. Here it is taken apart into its instructions, which are few, and
only those that describe a dict of arrays are followed, by the code below: no unpickler
sees the file, and no name in it is ever looked up.
"""

import pickletools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tl_jax.pretrained.errors import Damaged, Unsafe

SUFFIXES = (".pkl",)
DTYPES = {"f2": "F16", "f4": "F32", "f8": "F64"}
"""NumPy's name -> safetensors' name."""
KNOWN = {
    **{f"{m}.multiarray _reconstruct": "array" for m in ("numpy.core", "numpy._core")},
    "numpy ndarray": "class",
    "numpy dtype": "dtype",
}
"""Names in a pickle -> what stands for them here. There is nothing else."""
MARK = object()
NUMBERS = ("BININT", "BININT1", "BININT2", "LONG1")
TEXTS = ("BINUNICODE", "SHORT_BINUNICODE")
BYTES = ("BINBYTES", "SHORT_BINBYTES", "BINBYTES8")
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
SKIPPED = ("PROTO", "FRAME", "STOP")


class Name(NamedTuple):
    """A name in the pickle; one of the values of `KNOWN`."""

    kind: str


class Made:
    """What a call in the pickle makes, and the state that is then given to it."""

    def __init__(self, kind: str, args: tuple):
        self.kind, self.args, self.state = kind, args, ()


class Stored(NamedTuple):
    """One array as the pickle describes it."""

    shape: tuple[int, ...]
    dtype: str
    """By safetensors' name."""
    numbers: bytes
    kind: str
    """NumPy's name of the dtype."""
    order: str
    """"C", or "F" where the first axis is the fastest."""


class Opened(NamedTuple):
    """A file of arrays."""

    tensors: Mapping[str, Stored]

    def get_tensor(self, name: str) -> np.ndarray:
        """One array, in rows."""
        found = self.tensors[name]
        flat = np.frombuffer(found.numbers, f"<{found.kind}")
        return np.array(flat.reshape(found.shape, order=found.order), order="C")


@contextmanager
def opened(file: Path) -> Iterator[Opened]:
    """A dict of arrays, or of lists of arrays: the i-th of `name` is `name.i`.

    Raises `Unsafe` for a pickle that names anything but arrays, `Damaged` for a
    truncated file or one that holds anything else.
    """
    yield Opened(header(file))


def header(file: Path) -> dict[str, Stored]:
    """Every array, by name."""
    raw = file.read_bytes()
    try:
        return arrays_of(parse(raw))
    except Unsafe as error:
        raise Unsafe(f"{file} is not read: {error}") from None
    except BROKEN as error:
        raise Damaged(f"{file} is damaged: {error}; get it again") from None


BROKEN = (Damaged, ValueError, TypeError, IndexError, KeyError, AttributeError)
"""What a pickle that NumPy did not write raises."""


def parse(raw: bytes) -> Any:
    """What the pickle describes; every array is a `Made`."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for code, argument, _ in pickletools.genops(raw):
        if not _pushed(code.name, argument, stack, memo):
            _changed(code.name, argument, stack, memo)
    if len(stack) != 1:
        raise Damaged(f"it ends with {len(stack)} things, expected one")
    return stack[0]


def _pushed(name: str, argument: Any, stack: list, memo: dict) -> bool:
    """Follow an instruction that only adds to the stack; False if it is none."""
    if name in NUMBERS or name in TEXTS or name in BYTES:
        stack.append(argument)
    elif name in CONSTANTS:
        stack.append(CONSTANTS[name])
    elif name == "MARK":
        stack.append(MARK)
    elif name in EMPTY:
        stack.append(EMPTY[name]())
    elif name in ("BINGET", "LONG_BINGET"):
        stack.append(memo[argument])
    elif name == "GLOBAL":
        stack.append(_known(argument))
    else:
        return False
    return True


def _changed(name: str, argument: Any, stack: list, memo: dict) -> None:
    """Follow an instruction that takes from the stack, or raise."""
    if name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
        memo[len(memo) if argument is None else argument] = stack[-1]
    elif name == "STACK_GLOBAL":
        module, own = _taken(stack, 2)
        stack.append(_known(f"{module} {own}"))
    elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
        stack.append(tuple(_taken(stack, int(name[-1]))))
    elif name == "TUPLE":
        stack.append(tuple(_marked(stack)))
    elif name in ("APPEND", "APPENDS"):
        items = _marked(stack) if name == "APPENDS" else _taken(stack, 1)
        _on_top(stack, list).extend(items)
    elif name in ("SETITEM", "SETITEMS"):
        items = _marked(stack) if name == "SETITEMS" else _taken(stack, 2)
        pairs = zip(items[::2], items[1::2], strict=True)
        _on_top(stack, dict).update(pairs)
    elif name == "REDUCE":
        called, args = _taken(stack, 2)
        if not isinstance(called, Name) or not isinstance(args, tuple):
            raise Damaged(f"it calls a {type(called).__name__}")
        stack.append(Made(called.kind, args))
    elif name == "BUILD":
        (state,) = _taken(stack, 1)
        _on_top(stack, Made).state = state
    elif name not in SKIPPED:
        raise Damaged(f"it has the instruction {name}, which no arrays need")


def _known(name: str) -> Name:
    if name not in KNOWN:
        raise Unsafe(f"the pickle names {name.replace(' ', '.')}, which no arrays need")
    return Name(KNOWN[name])


def _taken(stack: list, count: int) -> list:
    """The last things, taken away."""
    items = stack[-count:]
    if len(items) < count or any(item is MARK for item in items):
        raise Damaged("an instruction lacks what it takes")
    del stack[-count:]
    return items


def _marked(stack: list) -> list:
    """What stands above the last mark, taken away with it."""
    places = [i for i, item in enumerate(stack) if item is MARK]
    if not places:
        raise Damaged("an instruction lacks its mark")
    items = stack[places[-1] + 1 :]
    del stack[places[-1] :]
    return items


def _on_top(stack: list, kind: type) -> Any:
    if not stack or not isinstance(stack[-1], kind):
        raise Damaged(f"an instruction expects a {kind.__name__}")
    return stack[-1]


def arrays_of(found: Any) -> dict[str, Stored]:
    """The arrays by name; raises `Damaged` for anything else."""
    if not isinstance(found, dict) or not found:
        raise Damaged(f"it holds a {type(found).__name__}, expected arrays by name")
    arrays: dict[str, Stored] = {}
    for name, value in found.items():
        if not isinstance(name, str):
            raise Damaged(f"it holds something under {name!r}, expected a name")
        parts = {name: value}
        if isinstance(value, list):
            parts = {f"{name}.{i}": part for i, part in enumerate(value)}
        for path, part in parts.items():
            if path in arrays:
                raise Damaged(f"it holds {path!r} twice")
            arrays[path] = _stored(path, part)
    return arrays


def _stored(name: str, value: Any) -> Stored:
    """An array from its state: version, shape, dtype, order, bytes."""
    if not isinstance(value, Made) or value.kind != "array":
        raise Damaged(f"its {name!r} is no array")
    _, shape, dtype, fortran, numbers = value.state
    if not isinstance(dtype, Made) or dtype.kind != "dtype":
        raise Damaged(f"its {name!r} has no dtype")
    kind, order = dtype.args[0], dtype.state[1]
    if kind not in DTYPES or order != "<":
        known = ", ".join(f"<{kind}" for kind in DTYPES)
        raise Damaged(f"its {name!r} has dtype {order}{kind}, known: {known}")
    whole = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
    size = int(np.prod(shape, dtype=object)) * int(kind[1]) if whole else -1
    if not isinstance(numbers, bytes) or len(numbers) != size:
        text = list(shape) if whole else "unknown"
        raise Damaged(f"its {name!r} of shape {text} has not as many numbers")
    return Stored(shape, DTYPES[kind], numbers, kind, "F" if fortran else "C")
