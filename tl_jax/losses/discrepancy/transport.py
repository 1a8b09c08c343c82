"""Entropic optimal transport between two sets.

The plan comes from a Sinkhorn of our own. ott-jax computes the same and much more, but
for this one loop it brings jaxopt, lineax and equinox, and 1.4 s of imports beside
JAX's own 0.6 s.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from tl_jax.losses.discrepancy.estimates import rows, weights
from tl_jax.types import Array


class Sinkhorn(NamedTuple):
    """How a plan is found.

    `epsilon` is the entropy's strength in units of the mean cost; rounds go on until
    rows miss their mass by `tolerance` of the whole, at most `rounds` of them.
    """

    epsilon: float = 0.05
    tolerance: float = 1e-3
    rounds: int = 500


USUAL = Sinkhorn()


def transport_plan(
    cost: Array,
    source_weight: Array | None = None,
    target_weight: Array | None = None,
    how: Sinkhorn = USUAL,
) -> Array:
    """The plan of entropic optimal transport (Cuturi, 2013), by logarithms.

    argmin_P <P, M> - e mean(M) H(P) over plans of row sums a and column sums b

    a and b are the weights' shares; column sums are exact, row sums to the tolerance.
    The plan has no gradient. cost [N M], weights [N], [M] (0 for padding) -> [N M], all
    0 where a side weighs nothing. Raises ValueError for an epsilon or tolerance that
    isn't positive, or no rounds.
    """
    _check(how)
    chex.assert_rank(cost, 2)
    cost = jax.lax.stop_gradient(cost.astype(jnp.promote_types(cost.dtype, "float32")))
    a, b = _shares(cost[:, 0], source_weight), _shares(cost[0], target_weight)
    mean = jnp.einsum("i,ij,j->", a, cost, b)
    scores = -cost / (how.epsilon * jnp.where(mean > 0, mean, 1))
    log_a, log_b = _log(a), _log(b)

    def free_columns(f: Array) -> Array:
        return log_b - jax.nn.logsumexp(scores + f[:, None], axis=0)

    def go_on(carry: tuple) -> Array:
        _, _, missed, done = carry
        return (missed > how.tolerance) & (done < how.rounds)

    def once(carry: tuple) -> tuple:
        f, g, _, done = carry
        full = jax.nn.logsumexp(scores + g, axis=1)
        missed = jnp.abs(jnp.exp(f + full) - a).sum()
        f = log_a - full
        return f, free_columns(f), missed, done + 1

    f = log_a
    start = f, free_columns(f), jnp.full((), jnp.inf, cost.dtype), 0
    f, g, _, _ = jax.lax.while_loop(go_on, once, start)
    return jnp.where((a[:, None] > 0) & (b > 0), jnp.exp(f[:, None] + scores + g), 0)


def transport_cost(
    source: Array,
    target: Array,
    source_weight: Array | None = None,
    target_weight: Array | None = None,
    how: Sinkhorn = USUAL,
) -> Array:
    """<P, M> of squared distances M and their entropic plan P (Cuturi, 2013).

    The gradient is that of M alone, which for a plan at its optimum is the gradient of
    the problem (Danskin); second derivatives take P as fixed, too. source [N D],
    target [M D], weights [N], [M] -> []. Raises as `transport_plan`, and ValueError
    for widths that differ.
    """
    source, target = rows("transport_cost", source, target)
    cost = _apart(source, target, source_weight, target_weight)
    plan = transport_plan(cost, source_weight, target_weight, how)
    return (plan * cost).sum()


def joint_transport(
    source: Array,
    target: Array,
    labels: Array,
    logits: Array,
    source_weight: Array | None = None,
    target_weight: Array | None = None,
    *,
    features: float = 1.0,
    classes: float = 1.0,
    how: Sinkhorn = USUAL,
) -> Array:
    """Transport of features and labels at once, DeepJDOT (Damodaran et al., 2018).

    <P, M>, M_ij = alpha |s_i - t_j|^2 + lambda CE(y_i, q_j), P its entropic plan

    The plan is fixed while the network moves, as in the paper, whose plan and skada's
    are of exact transport, without entropy; ADAPT, TLlib and pytorch-adapt have none.
    A smaller `how.epsilon` comes nearer to it.

    source [N D], target [M D], labels [N] int or [N C] shares of the source, logits
    [M C] of the target, weights [N], [M] -> []. Raises as `transport_cost`, and
    ValueError for negative strengths.
    """
    for name, strength in (("features", features), ("classes", classes)):
        if not strength >= 0:
            raise ValueError(f"joint_transport: {name} is {strength}, expected >= 0")
    chex.assert_rank(logits, 2)
    chex.assert_equal_shape_prefix([logits, target], 1)
    chex.assert_equal_shape_prefix([labels, source], 1)
    source, target = rows("joint_transport", source, target)
    if jnp.ndim(labels) == 1:
        labels = jax.nn.one_hot(labels, logits.shape[1])
    logs = jax.nn.log_softmax(jnp.asarray(logits, source.dtype))
    entropy = -jnp.einsum("nc,mc->nm", labels, logs, precision="highest")
    far = _apart(source, target, source_weight, target_weight)
    cost = features * far + classes * entropy
    plan = transport_plan(cost, source_weight, target_weight, how)
    return (plan * cost).sum()


def _apart(x: Array, y: Array, first: Array | None, second: Array | None) -> Array:
    """|x_i - y_j|^2 by one product, about the middle of rows that weigh something.

    x [N D], y [M D], weights [N], [M] -> [N M].
    """
    middle = (_shares(x[:, 0], first) @ x + _shares(y[:, 0], second) @ y) / 2
    middle = jax.lax.stop_gradient(middle)
    x, y = x - middle, y - middle
    products = jnp.einsum("nd,md->nm", x, y, precision="highest")
    lengths = jnp.square(x).sum(-1)[:, None] + jnp.square(y).sum(-1)
    return jnp.maximum(lengths - 2 * products, 0)


def _shares(like: Array, weight: Array | None) -> Array:
    found = weights(like, weight)
    total = found.sum()
    return found / jnp.where(total > 0, total, 1)


def _log(share: Array) -> Array:
    """Logarithms, of 0 a number so low that nothing comes of it."""
    some = share > 0
    return jnp.where(some, jnp.log(jnp.where(some, share, 1)), -1e30)


def _check(how: Sinkhorn) -> None:
    for name in ("epsilon", "tolerance"):
        if not getattr(how, name) > 0:
            found = getattr(how, name)
            raise ValueError(f"Sinkhorn: {name} is {found}, expected above 0")
    if how.rounds < 1:
        raise ValueError(f"Sinkhorn: rounds is {how.rounds}, expected at least 1")
