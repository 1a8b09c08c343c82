"""Sparse updates: a few chosen numbers of the pretrained leaves, and no others."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tl_jax.nn.block import block_range
from tl_jax.transfer.graft import graft
from tl_jax.tree import flatten, get, matches, node, path_of, put, unflatten
from tl_jax.types import Array, Key, Params, Transfer


@node
class Sparse:
    """leaf + values at index, for some leaves. index, values: path -> [K].

    An index counts through its leaf by rows. Both are as long as what moves.
    """

    point: ClassVar[str] = "root"
    rates: ClassVar[Mapping[str, float]] = {"index": 0.0}
    index: Params
    values: Params

    def __call__(self, site: Params, value: Any, *, x: Any = None, key: Any = None):
        """A node at the root is expanded; no layer has its point."""
        raise TypeError("sparse updates act through expand(params)")

    def expand(self, params: Params) -> Params:
        """The tree with its leaves moved, in stacked blocks too."""
        values = flatten(self.values)
        for path, index in flatten(self.index).items():
            at, row = placed(params, path)
            leaf = get(params, at)
            flat = leaf.reshape(-1) if row is None else leaf.reshape(len(leaf), -1)
            where = flat.at[index] if row is None else flat.at[row, index]
            known = dict(unique_indices=True, indices_are_sorted=True)
            moved = where.add(values[path].astype(leaf.dtype), **known)
            params = put(params, at, moved.reshape(leaf.shape))
        return params


def placed(params: Params, path: str) -> tuple[str, int | None]:
    """Where a leaf is: its path, or that of its stacked blocks and the row there."""
    front, mark, rest = path.rpartition("blocks/")
    number, _, below = rest.partition("/")
    if not mark or number in get(params, f"{front}blocks"):
        return path, None
    for name in get(params, f"{front}blocks"):
        if int(number) in block_range(name):
            row = int(number) - block_range(name).start
            return f"{front}blocks/{name}/{below}", row
    raise ValueError(f"{path!r} is moved sparsely, but the tree has no such block")


def magnitude_mask(
    share: float,
    where: str = ".*/kernel",
    *,
    largest: bool = True,
    name: str = "magnitude_mask",
) -> Transfer:
    """Let the largest (or smallest) numbers of each matching leaf move.

    w <- w + d, d zero but at the share of w's coordinates that are largest in size; d
    alone moves, from zero. So the optimiser, its decay and a clipped norm see only
    what moves, and hold nothing else; a step still computes the leaf's whole gradient.
    `where` matches paths of leaves. The base's rates are untouched: `freeze` first.

    Raises `NoMatch` with the nearest leaves, ValueError for a share outside (0, 1].
    """
    check_share(share, name)

    def make(key: Key, params: Params) -> Sparse:
        leaves = plain_leaves(params)
        index = {}
        for path in matches(where, leaves, f"{name}: where"):
            size = jnp.abs(leaves[path]).reshape(-1)
            count = max(round(share * size.size), 1)
            chosen = lax.top_k(size if largest else -size, count)[1]
            index[path] = jnp.sort(chosen).astype(jnp.int32)
        return resting(index)

    return graft("", name, make)


def fish_mask(
    scores: Params, share: float, where: str = ".*", *, name: str = "fish_mask"
) -> Transfer:
    """Let the numbers with the most Fisher information move (Sung et al., 2021).

    As `magnitude_mask`, with the `share` of all numbers of all matching leaves
    together whose `scores` are largest, `fisher` of some examples: how many of a leaf
    that is differs. A fresh head that should move whole is left out of `where` by the
    rule and set by `rate`.

    Raises `NoMatch` with the nearest leaves, ValueError for a share outside (0, 1] and
    for scores of another shape.
    """
    check_share(share, name)
    known = plain_leaves(scores)

    def make(key: Key, params: Params) -> Sparse:
        leaves = plain_leaves(params)
        found = matches(where, leaves, f"{name}: where")
        for path in found:
            shape = np.shape(known.get(path))
            if path not in known or shape != leaves[path].shape:
                held = f"of shape {shape}" if path in known else "missing"
                raise ValueError(
                    f"{name}: scores of {path!r} are {held}, expected "
                    f"{leaves[path].shape}"
                )
        return resting(largest_of({path: known[path] for path in found}, share))

    return graft("", name, make)


def fisher(
    log_likelihood: Callable[[Params, Any], Array], params: Params, examples: Any
) -> Params:
    """The mean of squared gradients over examples: Fisher's diagonal, empirical.

    F = 1/N sum_i (d log p(y_i | x_i) / d w)^2 (Sung et al., 2021). `log_likelihood`
    takes the parameters and one example, an element of each array [N ...] of
    `examples`; with labels drawn from the model it is the expected one. One gradient
    is held at a time. Returns the tree of `params`.
    """
    gradient = jax.grad(log_likelihood)

    def add(total: Params, example: Any) -> tuple[Params, None]:
        squared = jax.tree.map(jnp.square, gradient(params, example))
        return jax.tree.map(jnp.add, total, squared), None

    total, _ = lax.scan(add, jax.tree.map(jnp.zeros_like, params), examples)
    count = len(jax.tree.leaves(examples)[0])
    return jax.tree.map(lambda leaf: leaf / count, total)


def largest_of(scores: Mapping[str, Array], share: float) -> dict[str, Array]:
    """Indices of the largest scores of all leaves together: path -> [K], none empty."""
    flat = {path: np.asarray(own).reshape(-1) for path, own in scores.items()}
    joined = np.concatenate(list(flat.values()))
    count = max(round(share * joined.size), 1)
    chosen = np.zeros(joined.size, bool)
    chosen[np.argpartition(-joined, count - 1)[:count]] = True
    ends = np.cumsum([own.size for own in flat.values()])[:-1]
    parts = zip(flat, np.split(chosen, ends), strict=True)
    index = {path: np.flatnonzero(own).astype(np.int32) for path, own in parts}
    return {path: jnp.asarray(own) for path, own in index.items() if own.size}


def resting(index: Mapping[str, Array]) -> Sparse:
    """The node that moves these coordinates, all of them still zero."""
    values = {path: jnp.zeros(len(own)) for path, own in index.items()}
    return Sparse(unflatten(dict(index)), unflatten(values))


def plain_leaves(params: Params) -> dict[str, Array]:
    """Arrays of floats at dicts, patches and quantised kernels left out."""
    return {
        path_of(keys): leaf
        for keys, leaf in jax.tree_util.tree_leaves_with_path(params)
        if all(isinstance(k, jax.tree_util.DictKey) for k in keys)
        and "patch" not in {k.key for k in keys}
        and jnp.issubdtype(leaf.dtype, jnp.floating)
    }


def check_share(share: float, name: str) -> None:
    """Raise for what is no share."""
    if not 0 < share <= 1:
        raise ValueError(f"{name}: share is {share}, expected above 0 and up to 1")
