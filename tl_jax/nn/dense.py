"""Products with a kernel, embeddings, dropout."""

import jax
import jax.numpy as jnp
from jax import lax

from tl_jax.nn.patches import patched
from tl_jax.types import Array, Key, Params


def product(x: Array, kernel: Array) -> Array:
    """x [... I] times kernel [I O], in x's dtype, accumulated in at least float32.

    The result stays in the accumulator's dtype; whoever ends the layer casts.
    """
    wide = jnp.promote_types(x.dtype, jnp.float32)
    axes = (((x.ndim - 1,), (0,)), ((), ()))
    return lax.dot_general(x, kernel.astype(x.dtype), axes, preferred_element_type=wide)


def dense(site: Params, x: Array, *, key: Key | None = None) -> Array:
    """y = x W + b with the site's patches. x [... I] -> [... O], in x's dtype."""
    x = patched("input", site, x, key=key)
    y = product(x, site["kernel"])
    y = patched("product", site, y, x=x, key=key)
    if "bias" in site:
        y = y + site["bias"]
    y = patched("output", site, y, x=x, key=key)
    return y.astype(x.dtype)


def embed(site: Params, ids: Array, *, key: Key | None = None) -> Array:
    """Rows of the site's table. ids [...] -> [... D]."""
    return patched("output", site, site["embedding"][ids], x=ids, key=key)


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
