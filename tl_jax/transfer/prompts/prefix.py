"""Prefixes: keys and values that every token may look at."""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from tl_jax.nn import normal
from tl_jax.transfer.graft import graft
from tl_jax.tree import node
from tl_jax.types import Array, Key, Params, Transfer


@node
class Prefix:
    """Further keys and values in front of each row's own. keys, values [P D]."""

    point: ClassVar[str] = "kv"
    rates: ClassVar[Mapping[str, float]] = {}
    keys: Array
    values: Array

    def __call__(self, site: Params, value: tuple, *, x: Any = None, key: Any = None):
        """(keys [B G S d], values, mask [B S]) with P more, all of them present."""
        k, v, mask = value
        front = jnp.ones((len(mask), len(self.keys)), mask.dtype)
        return (
            jnp.concatenate([_rows(self.keys, k), k], axis=2),
            jnp.concatenate([_rows(self.values, v), v], axis=2),
            jnp.concatenate([front, mask], axis=1),
        )


def prefix(
    length: int,
    where: str = r"blocks/\d+/attention",
    *,
    std: float = 0.02,
    name: str = "prefix",
) -> Transfer:
    """`length` learned keys and values in front of matching attentions.

    (Li and Liang, 2021.) Each site has its own, drawn from a normal of `std`, without
    the paper's network that makes them: even zeros take a share of the attention, so
    the function changes from the start. Padding stays unseen and positions are those
    of before; keys are not rotated. The base's rates are untouched: `freeze` first.

    Raises `NoMatch` with the nearest attentions, ValueError for a length below 1.
    """
    if length < 1:
        raise ValueError(f"prefix: length is {length}, expected 1 or more")

    def make(key: Key, site: Params) -> Prefix:
        k_keys, k_values = jax.random.split(key)
        wide, broad = (site[n]["kernel"].shape[-1] for n in ("key", "value"))
        keys = normal(k_keys, (length, wide), std)
        return Prefix(keys, normal(k_values, (length, broad), std))

    return graft(where, name, make, has=("query", "key", "value"))


def _rows(own: Array, like: Array) -> Array:
    """own [P D] as [B G P d], in the heads and the dtype of `like`."""
    batch, heads, _, width = like.shape
    split = own.reshape(len(own), heads, width).swapaxes(0, 1).astype(like.dtype)
    return jnp.broadcast_to(split, (batch, *split.shape))
