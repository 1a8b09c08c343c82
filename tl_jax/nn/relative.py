"""Relative positions: a learned number a head for each bucket of distances."""

import jax.numpy as jnp
import numpy as np

from tl_jax.nn.dense import embed
from tl_jax.types import Array, Params


def relative_bias(
    site: Params,
    queries: Array,
    keys: Array,
    *,
    most: int = 128,
    both: bool = True,
) -> Array:
    """What is added to scores for the distance of a key (Raffel et al., 2020).

    queries [B T] and keys [B S] are positions, the site's table [buckets H] -> [B H T
    S]. With `both`, half of the buckets are of keys behind the query; else these share
    the bucket of distance 0, as no causal attention looks there. `most` is the
    distance from which on all share a bucket.
    """
    count = site["embedding"].shape[0]
    ahead = keys[:, None, :] - queries[:, :, None]
    own = count // 2 if both else count
    away = jnp.abs(ahead) if both else jnp.maximum(-ahead, 0)
    found = jnp.asarray(buckets(own, most))[jnp.minimum(away, most)]
    if both:
        found = found + own * (ahead > 0)
    return jnp.moveaxis(embed(site, found), -1, 1)


def buckets(count: int, most: int) -> np.ndarray:
    """The bucket of every distance 0 to `most`. [most + 1].

    The first half of the buckets are of one distance each, the others grow as its
    logarithm; in float32, as transformers rounds. Raises ValueError for fewer than two
    buckets and for a `most` that leaves none to grow.
    """
    if count < 2 or most <= count // 2:
        raise ValueError(
            f"{count} buckets of distances up to {most}: expected 2 or more, half of "
            "them less than that distance"
        )
    exact = count // 2
    away = np.arange(most + 1)
    ratio = np.maximum(away, 1).astype(np.float32) / np.float32(exact)
    share = np.log(ratio) / np.float32(np.log(most / exact))
    grown = exact + (share * np.float32(count - exact)).astype(np.int32)
    found = np.where(away < exact, away, np.minimum(grown, count - 1))
    return found.astype(np.int32)
