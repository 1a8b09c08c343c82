"""Leaves on their way to disk and back: host copies, records, digests.

A record holds shape, dtype and SHA-256 of a leaf's bytes. Python numbers and empty
arrays live in their records alone; typed keys travel as their data.
"""

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tl_jax.checkpoint.compare import (
    Spec,
    flatten_once,
    is_python_number,
    spec_of,
)

Record = dict[str, Any]


class Damaged(Exception):
    """What stands on disk is not what was saved."""


def pack(tree: Any) -> tuple[dict[str, Any], dict[str, Record]]:
    """Split a tree into arrays to write and the records that describe all leaves.

    The arrays are copies on the host, so the tree may be donated afterwards; only an
    array that is spread over processes stays a `jax.Array`, without a digest.
    Raises ValueError for a leaf that is no number and no array, or was donated.
    """
    flat = flatten_once(tree)
    for path, leaf in flat.items():
        _check(path, leaf)
    arrays, records = {}, {}
    for path, leaf in flat.items():
        record: Record = spec_of(leaf)._asdict()
        records[path] = record
        if is_python_number(leaf):
            record["value"] = leaf
            continue
        if _is_key(leaf):
            record["impl"] = str(jax.random.key_impl(leaf))
            leaf = jax.random.key_data(leaf)
        if leaf.size:
            arrays[path] = _fetch(leaf) if _readable(leaf) else leaf
    for path, leaf in arrays.items():
        if _readable(leaf):
            arrays[path] = np.array(leaf, order="C", copy=True)
    for path, digest in digests(arrays).items():
        records[path]["digest"] = digest
    return arrays, records


def _check(path: str, leaf: Any) -> None:
    if is_python_number(leaf):
        return
    if not isinstance(leaf, jax.Array | np.ndarray | np.generic):
        raise ValueError(
            f"leaf {path!r} is a {type(leaf).__name__}; a checkpoint holds arrays and "
            "numbers (text and settings belong into meta)"
        )
    if isinstance(leaf, jax.Array) and leaf.is_deleted():
        raise ValueError(
            f"leaf {path!r} was donated: its values are gone; save earlier"
        )
    if not (_is_key(leaf) or _is_number(leaf.dtype)):
        raise ValueError(f"leaf {path!r} has dtype {leaf.dtype}; expected numbers")


def _is_number(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, np.number) or jnp.issubdtype(dtype, np.bool_)


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _readable(leaf: Any) -> bool:
    """True if this process can see the whole array."""
    if not isinstance(leaf, jax.Array):
        return True
    return leaf.is_fully_addressable or leaf.is_fully_replicated


def _fetch(leaf: Any) -> Any:
    """A second name for an array, on its way to the host.

    An array keeps the host copy it was once asked for; this one goes away with it.
    """
    if not isinstance(leaf, jax.Array):
        return leaf
    parts = [shard.data for shard in leaf.addressable_shards]
    leaf = jax.make_array_from_single_device_arrays(leaf.shape, leaf.sharding, parts)
    leaf.copy_to_host_async()
    return leaf


def digests(arrays: Mapping[str, Any]) -> dict[str, str | None]:
    """SHA-256 of every array's bytes, None where this process can't see all of it."""

    def digest(leaf: Any) -> str | None:
        if not _readable(leaf):
            return None
        data = np.ascontiguousarray(_fetch(leaf)).reshape(-1).view(np.uint8)
        return hashlib.sha256(data).hexdigest()

    with ThreadPoolExecutor() as pool:
        return dict(zip(arrays, pool.map(digest, arrays.values()), strict=True))


def is_stored(record: Record) -> bool:
    """True if the leaf has values on disk beside its record."""
    return "digest" in record


def abstract(record: Record, target: Any) -> jax.ShapeDtypeStruct:
    """How to read one leaf: with the target's sharding, or as a NumPy array."""
    shape, dtype = tuple(record["shape"]), record["dtype"]
    if "impl" in record:
        empty = jax.eval_shape(lambda: jax.random.key(0, impl=record["impl"]))
        data = jax.eval_shape(jax.random.key_data, empty)
        shape, dtype = shape + data.shape, str(data.dtype)
    return jax.ShapeDtypeStruct(shape, jnp.dtype(dtype), sharding=_placement(target))


def _placement(target: Any) -> Any:
    """The target's sharding, None where values shall rest wherever they are used."""
    if isinstance(target, jax.Array):
        return target.sharding if target.committed else None
    return getattr(target, "sharding", None)


def verify(arrays: Mapping[str, Any], records: Mapping[str, Record]) -> None:
    """Raises `Damaged` with the paths whose bytes are not those that were saved."""
    found = digests(arrays)
    wrong = [
        p for p, d in found.items() if d and records[p].get("digest") not in (None, d)
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise Damaged(f"other values than were saved at {', '.join(wrong[:3])}{more}")


def unpack(record: Record, array: Any, target: Any) -> Any:
    """A leaf of the target's kind from its record and what was read."""
    if "value" in record:
        return record["value"]
    if array is None:
        array = np.zeros(record["shape"], jnp.dtype(record["dtype"]))
        if (sharding := _placement(target)) is not None:
            array = jax.device_put(array, sharding)
    if "impl" in record:
        return jax.random.wrap_key_data(array, impl=record["impl"])
    if getattr(target, "weak_type", False) and np.ndim(array) == 0:
        weak = jax.device_put(jnp.asarray(np.asarray(array).item()), _placement(target))
        if weak.dtype == array.dtype:
            return weak
    if isinstance(array, jax.Array) or not _on_device(target):
        return array
    if jax.dtypes.canonicalize_dtype(array.dtype) != array.dtype:
        return array  # a 64-bit leaf while JAX has 32 bits: NumPy keeps all of them
    return jnp.array(array, copy=True)


def _on_device(target: Any) -> bool:
    return isinstance(target, jax.Array | jax.ShapeDtypeStruct)


def specs_of_records(records: Mapping[str, Record]) -> dict[str, Spec]:
    """`{path: Spec}` of what was saved."""
    return {p: Spec(tuple(r["shape"]), r["dtype"]) for p, r in records.items()}


def check_json(value: Any, path: str = "meta") -> None:
    """Raises TypeError, naming the place, unless JSON gives the same value back."""
    if value is None or isinstance(value, str | bool | int | float):
        return
    if isinstance(value, list | tuple):
        for i, child in enumerate(value):
            check_json(child, f"{path}/{i}")
    elif isinstance(value, Mapping):
        for name, child in value.items():
            if not isinstance(name, str):
                raise TypeError(f"{path} has the key {name!r}; JSON keys are text")
            check_json(child, f"{path}/{name}")
    else:
        raise TypeError(
            f"{path} is a {type(value).__name__}; expected what JSON holds: None, "
            "bool, int, float, text, lists and dicts of them"
        )


def seal(manifest: Mapping[str, Any]) -> str:
    """SHA-256 of a manifest without its own `seal`."""
    plain = {name: value for name, value in manifest.items() if name != "seal"}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
