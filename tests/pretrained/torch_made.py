"""Tiny files as `torch.save` writes them, made without torch."""

import io
import pickle
import zipfile
from collections import OrderedDict

import numpy as np

from tl_jax.pretrained import torch_files


def as_zip(path, raw: bytes, **records: bytes) -> None:
    """A file in the format of today: a pickle and records `_<key>` in an archive."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", raw)
        for name, data in records.items():
            archive.writestr(f"archive/data/{name.removeprefix('_')}", data)


def as_stream(path, raw: bytes, keys=(), data: bytes = b"") -> None:
    """A file in the older format: pickles and then the storages, end to end."""
    system = {"little_endian": True}
    before = [pickle.dumps(x, 2) for x in (torch_files.MAGIC, 1001, system)]
    path.write_bytes(b"".join([*before, raw, pickle.dumps(list(keys), 2), data]))


class Pickler(pickle.Pickler):
    """Writes what torch would: storages by reference, functions by name."""

    def persistent_id(self, value):
        return value[1:] if isinstance(value, tuple) and value[:1] == ("ref",) else None


class Call:
    """A call of one of torch's functions, by name alone."""

    def __init__(self, *args):
        self.args = args

    def __reduce__(self):
        return _rebuild_tensor_v2, self.args


class FloatStorage:
    """Pickles as torch.FloatStorage."""


def _rebuild_tensor_v2(*args):
    raise AssertionError("pickled by name, never called")


_rebuild_tensor_v2.__module__ = "torch._utils"
FloatStorage.__module__ = "torch"


def tensor(shape, strides, offset=0, count=6, key="0"):
    """The pickle of one tensor `w`, as torch writes it."""
    import sys
    import types

    names = ("torch", "torch._utils")
    saved = {name: sys.modules.get(name) for name in names}
    for name in names:
        sys.modules[name] = types.ModuleType(name)
    sys.modules["torch"].FloatStorage = FloatStorage
    sys.modules["torch"]._utils = sys.modules["torch._utils"]
    sys.modules["torch._utils"]._rebuild_tensor_v2 = _rebuild_tensor_v2
    out = io.BytesIO()
    storage = ("ref", "storage", FloatStorage, key, "cpu", count)
    made = Call(storage, offset, shape, strides, False, OrderedDict())
    try:
        Pickler(out, 2).dump({"w": made})
    finally:
        for name, module in saved.items():
            sys.modules.pop(name)
            if module is not None:
                sys.modules[name] = module
    return out.getvalue()


SIX = np.arange(6, dtype=np.float32)
