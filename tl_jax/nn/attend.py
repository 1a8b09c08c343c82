"""Softmax attention of given queries, keys and values, with rules of its own."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental.layout import Layout, with_layout_constraint

from tl_jax.nn.rules import Rules, by_hand
from tl_jax.types import Array, Key


def attend(
    q: Array,
    k: Array,
    v: Array,
    mask: Array,
    key: Key | None = None,
    rate: float = 0.0,
    rules: Rules = "hand",
    *,
    bias: Array | None = None,
    scale: float | None = None,
) -> Array:
    """softmax(scale q k^T + bias) v, the softmax in float32.

    q [B H T d], k and v [B G S d], mask (True: look at it) and bias broadcast to
    [B H T S] -> [B H T d]; `scale` is 1 / sqrt(d) by default. A row that may look at
    nothing takes the mean of all values, never NaN. Dropout with `rate` acts on the
    weights if there is a key. `rules` say how it is differentiated (`nn.rules`).

    Where G is a divisor of H, each head of k and v serves H/G consecutive ones of q
    (Ainslie et al., 2023), as further rows of one product: nothing is repeated.
    """
    shape = q.shape
    if k.shape[1] != shape[1]:
        grouped = (shape[0], k.shape[1], -1)
        every = (*shape[:3], k.shape[2])
        mask = jnp.broadcast_to(mask, every)
        q, mask = (x.reshape(*grouped, x.shape[3]) for x in (q, mask))
        if bias is not None:
            bias = jnp.broadcast_to(bias, every).reshape(mask.shape)
    kept = None
    if key is not None and rate > 0:
        weights = (*q.shape[:3], k.shape[2])
        kept = jax.random.bernoulli(key, 1 - rate, weights) / (1 - rate)
    if jnp.finfo(q.dtype).bits < 32:
        own = half_looked_up if by_hand(rules) else plain_half_looked_up
    else:
        own = looked_up if by_hand(rules) else plain_looked_up
    scale = shape[-1] ** -0.5 if scale is None else scale
    return own(scale, q, k, v, mask, bias, kept).reshape(shape)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def looked_up(
    scale: float,
    q: Array,
    k: Array,
    v: Array,
    mask: Array,
    bias: Array | None,
    kept: Array | None,
) -> Array:
    """`attend` with given dropout, `kept` [B H T S] or None, and a rule of its own.

    With P the weights, dO = P dS V + P dV where dS is the scores' tangent less its
    mean under P: only P is kept for the backward pass, and V's product comes before
    the division by the softmax's sum.
    """
    return plain_looked_up(scale, q, k, v, mask, bias, kept)


def plain_looked_up(scale, q, k, v, mask, bias, kept) -> Array:
    """The same with JAX's own derivatives."""
    powers, total = _powers(scale, q, k, mask, bias)
    return _values(_dropped(powers, kept), v) / total


@looked_up.defjvp
def _looked_up_rule(scale, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    q, k, v, mask, bias, kept = primals
    dq, dk, dv, _, dbias, _ = tangents
    powers, total = _powers(scale, q, k, mask, bias)
    weights = powers / total
    seeing = _seeing(mask, q.dtype)  # applied where the arrays are small
    scores = (_scores(dq * seeing, k) + _scores(q * seeing, dk)) * scale
    if dbias is not None:
        scores = scores + dbias * seeing
    moved = weights * (scores - (weights * scores).sum(-1, keepdims=True))
    shown = _dropped(weights, kept)
    return _values(shown, v), _values(_dropped(moved, kept), v) + _values(shown, dv)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def half_looked_up(scale, q, k, v, mask, bias, kept) -> Array:
    """`looked_up` in half precision: its backward products are in q's dtype, too.

    As with `half_product`: reverse mode and forward over reverse.
    """
    return plain_half_looked_up(scale, q, k, v, mask, bias, kept)


def plain_half_looked_up(scale, q, k, v, mask, bias, kept) -> Array:
    """The same with JAX's own derivatives, whose products are in float32."""
    return _half_forward(scale, q, k, v, mask, bias, kept)[0]


def _half_forward(scale, q, k, v, mask, bias, kept) -> tuple[Array, tuple]:
    powers, total = _powers(scale, q, k, mask, bias)
    weights = (powers / total).astype(q.dtype)
    y = _values(_dropped(weights, kept), v)
    return y, (q, k, v, mask, bias, weights, kept, y)


def _half_backward(scale, saved: tuple, cotangent: Array) -> tuple:
    q, k, v, mask, bias, weights, kept, y = saved
    dy = cotangent.astype(q.dtype)
    mean = (cotangent * y).sum(-1, keepdims=True)
    scores = _dropped(_scores(dy, v), kept) - mean
    scores = weights * scores * _seeing(mask, jnp.float32)
    dbias = None if bias is None else _summed(scores, bias)
    scores = (scores * scale).astype(q.dtype)
    dq = _values(scores, k)
    dk = _gathered(scores, q)
    dv = _gathered(_dropped(weights, kept), dy)
    return *(x.astype(q.dtype) for x in (dq, dk, dv)), None, dbias, None


half_looked_up.defvjp(_half_forward, _half_backward)


def _summed(x: Array, like: Array) -> Array:
    """x [B H T S] summed over the axes along which `like` was repeated."""
    over = tuple(i for i, n in enumerate(like.shape) if n == 1 < x.shape[i])
    return x.sum(over, keepdims=True).astype(like.dtype)


def _powers(
    scale: float, q: Array, k: Array, mask: Array, bias: Array | None
) -> tuple[Array, Array]:
    """Powers [B H T S] of the scores less their maximum, and their sum [B H T 1]."""
    scores = _scores(q, k) * scale
    if bias is not None:
        scores = scores + bias
    scores = jnp.where(mask, scores, jnp.finfo(scores.dtype).min)
    powers = jnp.exp(scores - lax.stop_gradient(scores.max(-1, keepdims=True)))
    return powers, powers.sum(-1, keepdims=True)


def _seeing(mask: Array, dtype: jnp.dtype) -> Array:
    """1 for a row that sees something, else 0: no score moves its even weights."""
    return mask.any(-1, keepdims=True).astype(dtype)


def _dropped(weights: Array, kept: Array | None) -> Array:
    return weights if kept is None else (weights * kept).astype(weights.dtype)


def _scores(q: Array, k: Array) -> Array:
    """q [B H T d], k [B H S d] -> [B H T S]."""
    return _einsum("bhtd,bhsd->bhts", q, k)


def _values(weights: Array, v: Array) -> Array:
    """weights [B H T S], v [B H S d] -> [B H T d]."""
    return _einsum("bhts,bhsd->bhtd", weights.astype(v.dtype), v)


def _gathered(weights: Array, x: Array) -> Array:
    """weights [B H T S], x [B H T d] -> [B H S d]."""
    turned = _einsum("bhdt,bhts->bhds", rows(x.swapaxes(2, 3)), weights)
    return rows(turned).swapaxes(2, 3)


def _einsum(rule: str, a: Array, b: Array) -> Array:
    """An einsum over a batch and heads, accumulated in at least float32.

    On CPUs these are one axis in half precision: products with two of them run in
    float32 there, behind copies that widen their operands.
    """
    wide = jnp.promote_types(a.dtype, jnp.float32)
    einsum = partial(jnp.einsum, preferred_element_type=wide)
    if jnp.finfo(a.dtype).bits >= 32:
        return einsum(rule, a, b)

    def merged(a: Array, b: Array) -> Array:
        both = (x.reshape(-1, *x.shape[2:]) for x in (a, b))
        return einsum(rule.replace("bh", "b"), *both).reshape(*a.shape[:2], *shape)

    shape = jax.eval_shape(partial(einsum, rule), a, b).shape[2:]
    return lax.platform_dependent(a, b, cpu=merged, default=partial(einsum, rule))


def rows(x: Array) -> Array:
    """x laid out by rows on CPUs, where products read a transposed one slowly."""
    keep = Layout(tuple(range(x.ndim)))
    return lax.platform_dependent(
        x, cpu=lambda x: with_layout_constraint(x, keep), default=lambda x: x
    )
