"""NumPy arrays by name in a pickle, read without running it.

The pickle is taken apart by `tl_jax.pickles`: no unpickler sees the file, and no name
in it is ever looked up.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tl_jax import pickles
from tl_jax.pickles import Made
from tl_jax.pretrained.errors import Damaged, Unsafe

SUFFIXES = (".pkl",)
DTYPES = {"f2": "F16", "f4": "F32", "f8": "F64"}
"""NumPy's name -> safetensors' name."""


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
        return arrays_of(pickles.parse(raw))
    except pickles.Unsafe as error:
        raise Unsafe(f"{file} is not read: {error}") from None
    except pickles.BROKEN as error:
        raise Damaged(f"{file} is damaged: {error}; get it again") from None


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
