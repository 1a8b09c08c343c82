"""The pool of pictures against a loop over rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax.algorithms.adaptation.pool import empty_pool, exchanged, query


class Loop:
    """One picture after another, as the paper says it."""

    def __init__(self, size):
        self.size, self.images = size, []

    def query(self, images, weight, coins, places):
        shown = []
        for image, real, coin, place in zip(images, weight, coins, places, strict=True):
            if not real or (len(self.images) == self.size and not coin):
                shown.append(image)
            elif len(self.images) < self.size:
                self.images.append(image)
                shown.append(image)
            else:
                shown.append(self.images[place])
                self.images[place] = image
        return shown


def draws(seed, rows, size):
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(rows, 2, 2, 1)).astype(np.float32)
    weight = (rng.random(rows) > 0.2).astype(np.float32)
    return images, weight, rng.random(rows) > 0.5, rng.integers(0, size, rows)


@pytest.mark.parametrize("rows", [1, 3, 16])
def test_it_is_the_loop(rows):
    size = 5
    loop, pool = Loop(size), empty_pool(size, (2, 2, 1))
    step = jax.jit(exchanged)
    for seed in range(12):
        given = draws(seed, rows, size)
        pool, shown = step(pool, *map(jnp.asarray, given))
        np.testing.assert_array_equal(shown, loop.query(*given))
        assert pool.count == len(loop.images)
        np.testing.assert_array_equal(pool.images[: pool.count], loop.images)
    assert pool.count == size


def test_half_of_the_pictures_are_old_ones():
    pool = empty_pool(50, (1, 1, 1))
    pool, _ = query(pool, jax.random.key(0), jnp.zeros((50, 1, 1, 1)), jnp.ones(50))
    _, shown = query(pool, jax.random.key(1), jnp.ones((400, 1, 1, 1)), jnp.ones(400))
    _, again = query(pool, jax.random.key(1), jnp.ones((400, 1, 1, 1)), jnp.ones(400))
    np.testing.assert_array_equal(shown, again)
    # 50 zeros are in the pool; of 200 exchanges each takes out a place's first once.
    assert 40 <= (shown == 0).sum() <= 50


def test_no_pool_returns_what_comes():
    pool, images = empty_pool(0, (2, 2, 1)), jnp.ones((3, 2, 2, 1))
    after, shown = query(pool, jax.random.key(0), images, jnp.ones(3))
    np.testing.assert_array_equal(shown, images)
    assert after.count == 0


def test_pools_map_over_seeds():
    given = [draws(seed, 4, 3) for seed in range(3)]
    stacked = [jnp.stack(leaves) for leaves in zip(*given, strict=True)]
    pools = jax.tree.map(lambda x: jnp.stack([x] * 3), empty_pool(3, (2, 2, 1)))
    _, together = jax.vmap(exchanged)(pools, *stacked)
    for own, shown in zip(given, together, strict=True):
        _, alone = exchanged(empty_pool(3, (2, 2, 1)), *map(jnp.asarray, own))
        np.testing.assert_array_equal(shown, alone)
