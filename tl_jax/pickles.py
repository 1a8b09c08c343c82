"""Pickles taken apart without running them.

A pickle is a program. Here it is taken apart into its instructions, which are few, and
only those that describe dicts, lists, numbers, texts and NumPy's arrays are followed,
by the code below: no unpickler sees the file, and no name in it is ever looked up.
"""

import pickletools
from typing import Any, NamedTuple

import numpy as np

KNOWN = {
    **{f"{m}.multiarray _reconstruct": "array" for m in ("numpy.core", "numpy._core")},
    "numpy ndarray": "class",
    "numpy dtype": "dtype",
    "_codecs encode": "bytes",
}
"""Names in a pickle -> what stands for them here. There is nothing else."""
MARK = object()
NUMBERS = ("BININT", "BININT1", "BININT2", "LONG1")
TEXTS = ("BINUNICODE", "SHORT_BINUNICODE", "BINSTRING", "SHORT_BINSTRING")
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


BROKEN = (ValueError, TypeError, IndexError, KeyError, AttributeError)
"""What a pickle that NumPy did not write raises."""


class Unsafe(ValueError):
    """A pickle names something that no arrays need."""


def parse(raw: bytes) -> Any:
    """What the pickle describes; every array is a `Made`.

    Raises `Unsafe` for a name that no arrays need; what NumPy did not write raises
    errors of many kinds, `BROKEN`.
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for code, argument, _ in pickletools.genops(raw):
        if not _pushed(code.name, argument, stack, memo):
            _changed(code.name, argument, stack, memo)
    if len(stack) != 1:
        raise ValueError(f"it ends with {len(stack)} things, expected one")
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
            raise ValueError(f"it calls a {type(called).__name__}")
        if called.kind == "bytes":  # as Python 3 writes them for Python 2
            stack.append(args[0].encode("latin-1"))
        else:
            stack.append(Made(called.kind, args))
    elif name == "BUILD":
        (state,) = _taken(stack, 1)
        _on_top(stack, Made).state = state
    elif name not in SKIPPED:
        raise ValueError(f"it has the instruction {name}, which no arrays need")


def _known(name: str) -> Name:
    if name not in KNOWN:
        raise Unsafe(f"the pickle names {name.replace(' ', '.')}, which no arrays need")
    return Name(KNOWN[name])


def _taken(stack: list, count: int) -> list:
    """The last things, taken away."""
    items = stack[-count:]
    if len(items) < count or any(item is MARK for item in items):
        raise ValueError("an instruction lacks what it takes")
    del stack[-count:]
    return items


def _marked(stack: list) -> list:
    """What stands above the last mark, taken away with it."""
    places = [i for i, item in enumerate(stack) if item is MARK]
    if not places:
        raise ValueError("an instruction lacks its mark")
    items = stack[places[-1] + 1 :]
    del stack[places[-1] :]
    return items


def _on_top(stack: list, kind: type) -> Any:
    if not stack or not isinstance(stack[-1], kind):
        raise ValueError(f"an instruction expects a {kind.__name__}")
    return stack[-1]


def plain(found: Any) -> Any:
    """What `parse` gave with arrays in place of each `Made`; raises ValueError.

    Of arrays there are those of whole numbers, floats, and of objects, which become
    lists. Texts of Python 2 are both texts and bytes: as keys they stay texts.
    """
    if isinstance(found, Made):
        return _array(found)
    if isinstance(found, dict):
        return {key: plain(value) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return [plain(value) for value in found]
    return found


def _array(found: Made) -> Any:
    """An array from its state: version, shape, dtype, order, bytes."""
    if found.kind != "array" or len(found.state) != 5:
        raise ValueError(f"it holds a {found.kind} in place of an array")
    _, shape, dtype, fortran, numbers = found.state
    if not isinstance(dtype, Made) or dtype.kind != "dtype":
        raise ValueError("an array has no dtype")
    if isinstance(numbers, list):
        return plain(numbers)
    if isinstance(numbers, str):  # a byte string of Python 2
        numbers = numbers.encode("latin-1")
    kind = np.dtype(dtype.args[0])
    if kind.kind not in "iufb":
        raise ValueError(f"an array has dtype {kind}, expected numbers")
    order = dtype.state[1]
    flat = np.frombuffer(numbers, kind.newbyteorder(order if order in "<>" else "="))
    return flat.reshape(shape, order="F" if fortran else "C")
