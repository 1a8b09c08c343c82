"""Arrays onto a mesh and back, from one process or from many."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from tl_jax.distribute.layout import Layout


def place(layout: Layout, tree: Any) -> Any:
    """Every leaf where the rules say. All processes hold the same values and call it.

    Fresh buffers: what is placed may be donated without taking the given arrays.
    """
    return jax.tree.map(_put, tree, layout.shardings(tree))


def replicate(layout: Layout, tree: Any) -> Any:
    """Every leaf whole on every device, each process giving the same values."""
    return jax.tree.map(lambda leaf: _put(leaf, layout.everywhere), tree)


def _put(leaf: Any, sharding: NamedSharding) -> Any:
    if isinstance(leaf, jax.Array) and leaf.sharding.device_set == sharding.device_set:
        return jax.device_put(leaf, sharding, may_alias=False)
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        data = _put(jax.random.key_data(leaf), sharding)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    return _own(np.asarray(leaf), sharding)


def _own(host: np.ndarray, sharding: NamedSharding) -> jax.Array:
    """This process's parts of an array that all hold; `device_put` would compare."""
    return jax.make_array_from_callback(host.shape, sharding, lambda at: host[at])


def share(layout: Layout) -> tuple[int, int]:
    """(shard, shards): which part of each batch's rows this process has to give.

    Processes whose devices split only products get the same rows. Raises ValueError
    where a process's devices lie on rows that are not one equal part of the batch.
    """
    parts = layout.batch_parts
    rows = layout.rows().devices_indices_map((parts,))
    mine = jax.process_index()
    own = {device.process_index: set() for device in layout.mesh.devices.flat}
    for device, (at,) in rows.items():
        own[device.process_index].add(at.start or 0)
    found = sorted(own[mine])
    count = len(found)
    fits = found == list(range(found[0], found[0] + count)) and found[0] % count == 0
    if not fits or parts % count or any(len(o) != count for o in own.values()):
        raise ValueError(
            f"mesh {layout.axes}: process {mine} would hold rows {found} of {parts} "
            "parts of a batch; let each process have one equal, whole part of data and "
            "fsdp"
        )
    return found[0] // count, parts // count


def place_batch(layout: Layout, batch: Mapping[str, Any], before: int = 0) -> Any:
    """A batch's rows over `data` and `fsdp`, from each process's own part.

    `before` counts dimensions in front of the rows: 1 for a chunk of steps [K B ...].
    No process waits for another here, so threads may call it in any order.
    Raises ValueError where the rows do not divide.
    """
    sharding, (_, shards) = layout.rows(before), share(layout)

    def put(leaf: Any) -> Any:
        shape = np.shape(leaf)
        total = shape[before] * shards
        if total % layout.batch_parts:
            raise ValueError(
                f"{total} rows do not divide over data*fsdp={layout.batch_parts} parts "
                "of the mesh"
            )
        whole = (*shape[:before], total, *shape[before + 1 :])
        if shards == 1:
            return _own(np.asarray(leaf), sharding)
        return jax.make_array_from_process_local_data(sharding, leaf, whole)

    return jax.tree.map(put, batch)


def gather(layout: Layout, tree: Any) -> Any:
    """Every leaf whole in host memory, on every process; all of them call it."""

    return jax.tree.map(lambda leaf: np.asarray(_whole(layout, leaf)), tree)


def local(layout: Layout, tree: Any) -> Any:
    """The tree on this process's own first device, to build new leaves beside it.

    All processes call it; on a mesh of one device it is the tree itself.
    """
    if layout.mesh.size == 1:
        return tree

    def fetch(leaf: Any) -> Any:
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            data = fetch(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        return jnp.array(np.asarray(_whole(layout, leaf)))

    return jax.tree.map(fetch, tree)


def _whole(layout: Layout, leaf: Any) -> Any:
    """The leaf, on every device if this process can't see all of it."""
    if not isinstance(leaf, jax.Array):
        return leaf
    if leaf.is_fully_addressable or leaf.is_fully_replicated:
        return leaf
    return jax.device_put(leaf, layout.everywhere)
