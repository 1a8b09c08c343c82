"""Weights saved by `torch.save`, read without torch and without running anything.

Both formats are pickles with the numbers beside them: a zip of records (since torch
1.6), or one stream that ends with the raw storages. A pickle is a program, and to
load it as it stands may run anything. `Restricted` is the accepted way around: an
unpickler that finds only the names below, each bound to a function of this module
that describes a tensor; every other name raises before anything is built.
"""

import io
import mmap
import pickle
import pickletools
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from tl_jax.pretrained.errors import Damaged, Unsafe

SUFFIXES = (".pth", ".pt", ".bin")
NESTED = ("state_dict", "model_state_dict", "model")
"""Where a checkpoint keeps the weights beside other things."""
MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
DTYPES: dict[str, tuple[str, Any]] = {
    "DoubleStorage": ("F64", np.float64),
    "FloatStorage": ("F32", np.float32),
    "HalfStorage": ("F16", np.float16),
    "BFloat16Storage": ("BF16", jnp.bfloat16),
    "LongStorage": ("I64", np.int64),
    "IntStorage": ("I32", np.int32),
    "ShortStorage": ("I16", np.int16),
    "CharStorage": ("I8", np.int8),
    "ByteStorage": ("U8", np.uint8),
    "BoolStorage": ("BOOL", np.bool_),
}
"""torch's name -> (safetensors' name, NumPy's dtype)."""


class Kind(NamedTuple):
    """Stands for a storage type; torch's name of it."""

    name: str


class Storage(NamedTuple):
    """A row of numbers of one dtype, which several tensors may share."""

    kind: Kind
    key: str
    count: int


class Stored(NamedTuple):
    """A tensor as its pickle describes it; offset and strides count numbers."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def dtype(self) -> str:
        """The dtype by safetensors' name."""
        return DTYPES[self.storage.kind.name][0]


class Rebuild(NamedTuple):
    """What a pickle may call in place of torch's function; cannot be altered."""

    name: str

    def __call__(self, *args: Any) -> Any:
        """A description of what torch would have built."""
        if self.name == "Size":
            return tuple(*args)
        if self.name.startswith("_rebuild_parameter"):
            return args[0]
        return describe(*args[:4])


KNOWN: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch", "Size"): Rebuild("Size"),
    ("torch._utils", "_rebuild_tensor"): Rebuild("_rebuild_tensor"),
    ("torch._utils", "_rebuild_tensor_v2"): Rebuild("_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"): Rebuild("_rebuild_parameter"),
    **{("torch", name): Kind(name) for name in DTYPES},
}
"""(module, name) in a pickle -> what stands for it here. There is nothing else."""


def describe(storage: Any, offset: Any, shape: Any, strides: Any) -> Stored:
    """A tensor, checked to lie within its storage."""
    numbers = (offset, *shape, *strides)
    whole = all(type(n) is int and n >= 0 for n in numbers)
    if not isinstance(storage, Storage) or not whole or len(shape) != len(strides):
        raise Damaged(f"a tensor of shape {shape!r} and strides {strides!r}")
    size = int(np.prod(shape, dtype=object))
    ends = [(n - 1) * s for n, s in zip(shape, strides, strict=True)]
    last = offset + sum(ends) if size else offset - 1
    if size > storage.count or last >= storage.count:
        raise Damaged(
            f"a tensor of shape {tuple(shape)} and strides {tuple(strides)} at "
            f"{offset} leaves its storage of {storage.count}"
        )
    return Stored(storage, offset, tuple(shape), tuple(strides))


class Restricted(pickle.Unpickler):
    """An unpickler that finds `KNOWN` and nothing else.

    Its base class is the one inheritance here: to override `find_class` is how the
    standard library lets a reader refuse code. What a pickle can call are therefore
    `OrderedDict` and `Rebuild`, which only describe.
    """

    storages: dict[str, Storage]

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name; raises `Unsafe` for all that is not known."""
        if (module, name) not in KNOWN:
            raise Unsafe(f"the pickle names {module}.{name}, which no weights need")
        return KNOWN[module, name]

    def persistent_load(self, pid: Any) -> Storage:
        """The storage that a pickle refers to."""
        if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage":
            raise Unsafe(f"the pickle refers to {pid!r}, which is no storage")
        _, kind, key, _, count = pid[:5]
        if not isinstance(kind, Kind) or type(count) is not int or count < 0:
            raise Damaged(f"the pickle refers to a storage {pid!r}")
        if len(pid) == 6 and pid[5] is not None:
            raise Damaged("the pickle has views of storages, as torch 0.3 wrote them")
        found = Storage(kind, str(key), count)
        if self.storages.setdefault(found.key, found) != found:
            raise Damaged(f"the pickle has two storages {key!r}")
        return found


def unpickle(stream: Any, length: int) -> tuple[Any, dict[str, Storage]]:
    """One object from a stream, and the storages that it refers to.

    `length` bounds what the program may ask for.
    """
    start = stream.tell()
    for code, argument, _ in pickletools.genops(stream):
        if code.name in ("PUT", "BINPUT", "LONG_BINPUT") and argument > length:
            raise Damaged(f"the pickle remembers {argument} things")
    stream.seek(start)
    reader = Restricted(stream)
    reader.storages = {}
    return reader.load(), reader.storages


class Opened(NamedTuple):
    """A file of weights while it is open."""

    file: Path
    tensors: dict[str, Stored]
    numbers: Callable[[Storage], np.ndarray]
    """Storage -> its numbers, as they lie in the file."""

    def get_tensor(self, name: str) -> np.ndarray:
        """One tensor, in rows; raises `Damaged` where the file ends too early."""
        storage, offset, shape, strides = self.tensors[name]
        with _named(self.file):
            flat = self.numbers(storage)[offset:]
        steps = tuple(s * flat.itemsize for s in strides)
        view = np.lib.stride_tricks.as_strided(flat, shape, steps, writeable=False)
        return np.array(view, order="C")


@contextmanager
def opened(file: Path) -> Iterator[Opened]:
    """A `.pth`, `.pt` or `.bin` of either format.

    Raises `Unsafe` for a pickle that names anything but tensors, `Damaged` for a
    truncated file, one of another format, or one that holds no weights by name.
    """
    with ExitStack() as stack:
        with _named(file):
            found = _open(file, stack)
        yield found


def _open(file: Path, stack: ExitStack) -> Opened:
    raw = stack.enter_context(file.open("rb"))
    if file.stat().st_size == 0:
        raise Damaged("it is empty")
    if zipfile.is_zipfile(raw):
        archive = stack.enter_context(zipfile.ZipFile(raw))
        return Opened(file, *_open_zip(archive))
    stream = mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ)
    return Opened(file, *_open_stream(stack.enter_context(stream)))


@contextmanager
def _named(file: Path) -> Iterator[None]:
    """Errors with the file's name; whatever a strange pickle raises is damage."""
    try:
        yield
    except Unsafe as error:
        raise Unsafe(f"{file} is not read: {error}") from None
    except (Damaged, zipfile.BadZipFile, *BROKEN) as error:
        raise Damaged(f"{file} is damaged: {error}; get it again") from None


BROKEN = (
    *(pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError),
    *(AttributeError, OverflowError, MemoryError, RuntimeError, struct.error),
)
"""What a pickle that torch did not write raises."""


def header(file: Path) -> dict[str, Stored]:
    """Every tensor's shape and dtype."""
    with opened(file) as found:
        return found.tensors


def _open_zip(archive: zipfile.ZipFile) -> tuple[dict[str, Stored], Callable]:
    names = archive.namelist()
    found = [n for n in names if n.count("/") == 1 and n.endswith("/data.pkl")]
    if len(found) != 1 or len(set(names)) != len(names):
        raise Damaged("it is a zip, but not one that torch.save writes")
    root = found[0].removesuffix("data.pkl")
    if (
        f"{root}byteorder" in names
        and _record(archive, f"{root}byteorder") != b"little"
    ):
        raise Damaged("its numbers are big-endian")
    raw = _record(archive, found[0])

    def numbers(storage: Storage) -> np.ndarray:
        dtype = np.dtype(DTYPES[storage.kind.name][1])
        data = _record(archive, f"{root}data/{storage.key}")
        return _numbers(data, dtype, storage)

    found, _ = unpickle(io.BytesIO(raw), len(raw))
    return state_dict(found), numbers


def _record(archive: zipfile.ZipFile, name: str) -> bytes:
    """One record, which torch never compresses: so it is no larger than the file."""
    member = archive.getinfo(name)
    if member.compress_type != zipfile.ZIP_STORED:
        raise Damaged(f"its record {name} is compressed")
    return archive.read(member)


def _numbers(data: Any, dtype: np.dtype, storage: Storage) -> np.ndarray:
    if len(data) != storage.count * dtype.itemsize:
        raise Damaged(
            f"its storage {storage.key} has {len(data)} bytes, expected "
            f"{storage.count * dtype.itemsize}"
        )
    return np.frombuffer(data, dtype)


def _open_stream(stream: mmap.mmap) -> tuple[dict[str, Stored], Callable]:
    length = len(stream)
    magic, protocol, system = (unpickle(stream, length)[0] for _ in range(3))
    if magic != MAGIC or protocol != PROTOCOL or not isinstance(system, dict):
        raise Damaged("it is no file of torch.save")
    if not system.get("little_endian"):
        raise Damaged("its numbers are big-endian")
    found, storages = unpickle(stream, length)
    tensors = state_dict(found)
    places: dict[str, int] = {}
    for key in unpickle(stream, length)[0]:
        (count,) = struct.unpack("<q", stream.read(8))
        if key not in storages or count != storages[key].count:
            raise Damaged(f"its storage {key} of {count} belongs to no tensor")
        places[key] = stream.tell()
        size = np.dtype(DTYPES[storages[key].kind.name][1]).itemsize
        stream.seek(count * size, 1)

    def numbers(storage: Storage) -> np.ndarray:
        dtype = np.dtype(DTYPES[storage.kind.name][1])
        start = places[storage.key]
        data = stream[start : start + storage.count * dtype.itemsize]
        return _numbers(data, dtype, storage)

    return tensors, numbers


def state_dict(found: Any) -> dict[str, Stored]:
    """The tensors by name, of a checkpoint those under `state_dict` and its like."""
    if isinstance(found, dict):
        inner = [found[k] for k in NESTED if isinstance(found.get(k), dict)]
        found = inner[0] if len(inner) == 1 else found
    if not isinstance(found, dict) or not found:
        raise Damaged(f"it holds a {type(found).__name__}, expected tensors by name")
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, Stored):
            raise Damaged(f"its {name!r} is a {type(value).__name__}, not a tensor")
    return dict(found)
