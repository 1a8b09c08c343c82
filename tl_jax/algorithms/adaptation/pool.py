"""Pictures that were made before, for a discriminator that should not forget."""

import jax
import jax.numpy as jnp

from tl_jax.tree import node
from tl_jax.types import Array, Key


@node
class Pool:
    """Up to N pictures; the first `count` rows are filled."""

    images: Array
    """[N H W C]"""
    count: Array
    """[]"""


def empty_pool(size: int, shape: tuple[int, ...]) -> Pool:
    """No pictures yet. `size` 0 keeps none, as TLlib's pool does."""
    return Pool(jnp.zeros((size, *shape), jnp.float32), jnp.zeros((), jnp.int32))


def query(pool: Pool, key: Key, images: Array, weight: Array) -> tuple[Pool, Array]:
    """Exchange new pictures for old ones, half the time (Shrivastava et al., 2017).

    While the pool fills up, each picture enters it and is returned. Then each, by a
    fair coin, is returned, or takes a random place in the pool and what stood there is
    returned: perhaps one of the same batch. Rows of weight 0 are returned and enter
    nothing. images [B H W C], weight [B] -> (pool, [B H W C]).
    """
    size = len(pool.images)
    if not size:
        return pool, images
    k_coin, k_place = jax.random.split(key)
    coins = jax.random.bernoulli(k_coin, 0.5, (len(images),))
    places = jax.random.randint(k_place, (len(images),), 0, size)
    return exchanged(pool, images, weight, coins, places)


def exchanged(
    pool: Pool, images: Array, weight: Array, coins: Array, places: Array
) -> tuple[Pool, Array]:
    """`query` with its draws given: coins [B] bool, places [B] in 0..N-1.

    As if one row came after another, without a loop: a row finds in its place the last
    earlier row of the batch that was put there, else what the pool has.
    """
    size = len(pool.images)
    real = weight > 0
    before = pool.count + jnp.cumsum(real) - real
    filling = before < size
    enters = real & (filling | coins)
    places = jnp.where(filling, before, places)
    order = jnp.arange(len(images))
    earlier = enters & (places[:, None] == places) & (order < order[:, None])
    last = jnp.where(earlier, order, -1).max(-1)
    stood = jnp.where(_wide(last >= 0, images), images[last], pool.images[places])
    shown = jnp.where(_wide(enters & ~filling, images), stood, images)
    put = enters & (places == jnp.arange(size)[:, None])
    newest = jnp.where(put, order, -1).max(-1)
    kept = jnp.where(_wide(newest >= 0, images), images[newest], pool.images)
    count = jnp.minimum(pool.count + real.sum(), size).astype(jnp.int32)
    return Pool(kept, count), shown


def _wide(chosen: Array, images: Array) -> Array:
    return chosen.reshape(-1, *[1] * (images.ndim - 1))
