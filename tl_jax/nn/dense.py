"""Products with a kernel, embeddings, dropout."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from tl_jax.nn.patches import patched, weight, weighted
from tl_jax.nn.rules import Rules, by_hand
from tl_jax.types import Array, Key, Params


def product(x: Array, kernel: Array, rules: Rules = "hand") -> Array:
    """x [... I] times kernel [I O], in x's dtype, accumulated in at least float32.

    The result stays in the accumulator's dtype; whoever ends the layer casts. In
    half precision the backward products are in x's dtype, too, see `half_product`,
    unless `rules` are "auto" (`nn.rules`).
    """
    if by_hand(rules) and jnp.finfo(x.dtype).bits < 32:
        return half_product(x, kernel)
    return _dot(x, kernel.astype(x.dtype))


@jax.custom_vjp
def half_product(x: Array, kernel: Array) -> Array:
    """x [... I] in half precision times kernel [I O] -> float32 [... O].

    Cotangents are rounded to x's dtype before the two backward products, which are
    accumulated in float32 (Micikevicius et al., 2018): by itself JAX would widen both
    operands there, at 3 to 5 times the seconds. Reverse mode alone, of any order, and
    forward over reverse; `jax.jvp` of it raises.
    """
    return _dot(x, kernel.astype(x.dtype))


def _half_forward(x: Array, kernel: Array) -> tuple[Array, tuple]:
    own = kernel.astype(x.dtype)
    return _dot(x, own), (x, own, jnp.zeros((), kernel.dtype))


def _half_backward(saved: tuple, cotangent: Array) -> tuple[Array, Array]:
    x, kernel, like = saved
    dy = cotangent.astype(x.dtype)
    dx = _dot(dy, kernel, axis=1).astype(x.dtype)
    dw = jnp.einsum("...i,...o->io", x, dy, preferred_element_type=jnp.float32)
    return dx, dw.astype(like.dtype)


half_product.defvjp(_half_forward, _half_backward)


def thin_product(x: Array, kernel: Array) -> Array:
    """`product` with a kernel [I O] of which one side is a rank: x [B ... I].

    The kernel's gradient is a small matrix summed over many rows, which XLA's CPU
    compiler gives to one core as one float32 product: here it is a product an
    example, then a sum.
    """
    if jnp.finfo(x.dtype).bits < 32 or x.ndim < 3:
        return product(x, kernel)
    return _thin_product(x, kernel.astype(x.dtype))


@jax.custom_jvp
def _thin_product(x: Array, kernel: Array) -> Array:
    return _dot(x, kernel)


@_thin_product.defjvp
def _thin_rule(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (x, kernel), (dx, dkernel) = primals, tangents
    tall = kernel.shape[0] > kernel.shape[1]
    each = dkernel.T if tall else dkernel  # rows of a rank, which lie in one piece
    each = jnp.broadcast_to(each, (len(x), *each.shape))
    rule = "b...i,boi->b...o" if tall else "b...i,bio->b...o"
    moved = jnp.einsum(rule, x, each)
    return _thin_product(x, kernel), _thin_product(dx, kernel) + moved


def _dot(x: Array, kernel: Array, axis: int = 0) -> Array:
    """x's last axis with one of the kernel's, accumulated in at least float32."""
    wide = jnp.promote_types(x.dtype, jnp.float32)
    axes = (((x.ndim - 1,), (axis,)), ((), ()))
    return lax.dot_general(x, kernel, axes, preferred_element_type=wide)


def dense(
    site: Params,
    x: Array,
    *,
    dtype: jnp.dtype | None = None,
    key: Key | None = None,
    rules: Rules = "hand",
) -> Array:
    """y = x W + b with the site's patches. x [... I] -> [... O].

    The product is computed in x's dtype; the result is in `dtype`, by default x's.
    """
    x = patched("input", site, x, key=key)
    y = weighted(partial(product, rules=rules), site, x, key=key)
    y = patched("product", site, y, x=x, key=key)
    if "bias" in site:
        y = y + site["bias"]
    y = patched("output", site, y, x=x, key=key)
    return y.astype(x.dtype if dtype is None else dtype)


def embed(site: Params, ids: Array, *, key: Key | None = None) -> Array:
    """Rows of the site's table. ids [...] -> [... D]."""
    table = weight(site, "embedding", key=key)
    return patched("output", site, table[ids], x=ids, key=key)


def dropout(x: Array, rate: float, key: Key | None) -> Array:
    """Zero a share `rate` of x and scale the rest by 1/(1 - rate); no key, no dropout.

    (Srivastava et al., 2014).
    """
    if key is None or rate == 0:
        return x
    kept = jax.random.bernoulli(key, 1 - rate, x.shape)
    return jnp.where(kept, x / (1 - rate), 0).astype(x.dtype)


def keys(key: Key | None, count: int) -> list[Key | None]:
    """`count` keys, or as many Nones."""
    return [None] * count if key is None else list(jax.random.split(key, count))
