"""Probes that learn nothing: the labels of the nearest training examples."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from tl_jax.estimators import checks
from tl_jax.losses.similarity import cosines
from tl_jax.tree import one_of
from tl_jax.types import Array

VOTES = ("weighted", "plain")
Vote = Literal["weighted", "plain"]


def nearest_votes(
    features: Array,
    labels: Array,
    queries: Array,
    *,
    classes: int,
    k: int = 200,
    vote: Vote = "weighted",
    temperature: float | Array = 0.07,
    weight: Array | None = None,
) -> Array:
    """Each class's share of the votes of the k most similar rows (Wu et al., 2018).

    p(c | x) = sum_{i in N_k(x), y_i = c} a_i / sum_{i in N_k(x)} a_i

    N_k are the k rows of the largest cosine; a_i = exp(cos(x, x_i) / temperature), or
    1 for a `plain` vote (Fix and Hodges, 1951). Of equally similar rows the first ones
    count. `weight` multiplies a row's vote; rows of weight 0 are no neighbours.
    k is at most the number of rows. Everything traces.

    features [N D], labels [N] int in 0..C-1, queries [Q D], weight [N] -> [Q C]. Raises
    ValueError for shapes that do not fit, values that are not finite (with the row), a
    k below 1, a temperature that is not positive, and `NoMatch` for another vote.
    """
    weight = np.ones(len(labels), np.float32) if weight is None else weight
    _check(features, labels, queries, classes, k, vote, temperature, weight)
    weight = jnp.asarray(weight, jnp.float32)
    near = cosines(
        jnp.asarray(queries, jnp.float32), jnp.asarray(features, jnp.float32)
    )
    near = jnp.where(weight > 0, near, -jnp.inf)
    similar, rows = jax.lax.top_k(near, min(k, len(labels)))
    # Against the most similar one, so that nothing overflows or is 0 throughout.
    votes = jnp.exp((similar - similar[:, :1]) / temperature)
    if vote == "plain":
        votes = jnp.where(similar > -jnp.inf, 1.0, 0.0)
    votes = votes * weight[rows]
    member = jax.nn.one_hot(jnp.asarray(labels)[rows], classes)
    return jnp.einsum("qk,qkc->qc", votes, member) / votes.sum(-1, keepdims=True)


def _check(features, labels, queries, classes, k, vote, temperature, weight) -> None:
    """Raise for what `nearest_votes` cannot use."""
    one_of("vote", vote, VOTES)
    if k < 1:
        raise ValueError(f"k is {k}, expected at least 1")
    if not checks.traced(temperature) and not temperature > 0:
        raise ValueError(f"temperature is {temperature}, expected more than 0")
    checks.check_shapes(features, labels, weight)
    checks.check_finite("features", features)
    checks.check_labels("labels", labels, classes)
    checks.check_weight(weight)
    width = np.shape(features)[1]
    if np.ndim(queries) != 2 or np.shape(queries)[1] != width:
        raise ValueError(
            f"queries have shape {np.shape(queries)}, expected [Q {width}]"
        )
    checks.check_finite("queries", queries)
