"""Labels by the nearest centroid of what a classifier believes."""

import chex
import jax
import jax.numpy as jnp

from tl_jax.types import Array


def centroid_labels(
    features: Array, shares: Array, weight: Array, rounds: int = 1
) -> Array:
    """The class whose centroid is nearest by cosine (Liang et al., 2020, in SHOT).

    c_k = sum_i p_ik u_i / sum_i p_ik,  y_i = argmax_k cos(u_i, c_k)

    u is the feature with a 1 behind it, at length 1; each further round takes the
    labels as p. features [N D], shares p [N C], weight [N], 0 for rows that are not
    there -> [N] int32, -1 for those. The authors' code is the same for classes that
    have rows; of one without any their digits' code makes NaN, here nobody gets it.
    """
    chex.assert_rank([features, shares, weight], [2, 2, 1])
    there = weight > 0
    ones = jnp.ones((len(features), 1))
    u = jnp.concatenate([features.astype(jnp.float32), ones], 1)
    u = jnp.where(there[:, None], u, 0)
    u = u / jnp.maximum(jnp.linalg.norm(u, axis=1, keepdims=True), 1e-12)
    believed = jnp.where(there[:, None], shares, 0)
    for _ in range(rounds + 1):
        labels = _nearest(u, believed)
        believed = jax.nn.one_hot(labels, shares.shape[1]) * there[:, None]
    return jnp.where(there, labels, -1)


def _nearest(u: Array, believed: Array) -> Array:
    """[N D] rows, [N C] shares -> [N] the nearest centroid of a class with rows."""
    total = believed.sum(0)
    centroids = believed.T @ u
    length = jnp.linalg.norm(centroids, axis=1)
    near = u @ (centroids / jnp.maximum(length, 1e-12)[:, None]).T
    return jnp.argmax(jnp.where(total > 0, near, -jnp.inf), 1).astype(jnp.int32)
