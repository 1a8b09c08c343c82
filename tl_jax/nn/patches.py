"""Where a layer meets the patches at its site."""

from collections.abc import Callable
from typing import Any

import jax

from tl_jax.tree import stable_key
from tl_jax.types import Array, Key, Params

POINTS = (
    *("kernel", "input", "product", "output", "branch"),
    *("kv", "positions", "words", "sequence", "tokens", "map"),
    *("attention_sum", "cross_sum", "mlp_sum", "root"),
)
"""What a patch may map:

kernel: the site's kernel or table itself, as an array, before it is used
input, product, output: a layer's input; x W; x W + b
branch: what an attention or an MLP returns, `x` being what it read
kv: an attention's (keys, values, mask)
positions: at `embed`, each token's position before it is looked up or turned
words: at `embed`, (words, mask, positions) before positions and types join them: what
    further words in front would be
sequence: at `embed`, (tokens, mask, positions); further tokens go in front
tokens: at a block, [B T D] as they enter it
map: at a convolutional network's block, [B H W C] as it leaves it
attention_sum, cross_sum, mlp_sum: at a block, a branch just before the residual sum,
    `x` being (residual stream, norm), the norm a function; cross looks at another side
root: at the tree, `expand`
"""


def patched(
    point: str, site: Params, value: Any, *, x: Any = None, key: Key | None = None
) -> Any:
    """Apply the site's patches of one point to `value`, in name order.

    `x` is the layer's input where the point is behind it; `key=None` means no
    dropout. Each patch draws from a key of its own name.
    """
    found = site.get("patch", {})
    for name in sorted(found):
        patch = found[name]
        if patch.point == point:
            own = None if key is None else stable_key(key, name)
            value = patch(site, value, x=x, key=own)
    return value


def without_point(point: str, site: Params) -> Params:
    """The site less its patches of one point."""
    kept = {n: p for n, p in site.get("patch", {}).items() if p.point != point}
    return site | {"patch": kept} if "patch" in site else site


def base_weight(site: Params, leaf: str = "kernel") -> Array:
    """The site's kernel or table as an array.

    One of another type, a quantised kernel, gives it by `dequantise()`.
    """
    own = site[leaf]
    return own.dequantise() if hasattr(own, "dequantise") else own


def weight(site: Params, leaf: str = "kernel", *, key: Key | None = None) -> Array:
    """The site's kernel or table as its patches at `kernel` make it."""
    return patched("kernel", site, base_weight(site, leaf), key=key)


def weighted(
    f: Callable[[Array, Array], Array],
    site: Params,
    x: Array,
    leaf: str = "kernel",
    *,
    key: Key | None = None,
) -> Array:
    """f(x, weight). Of a quantised one derivatives keep its codes, not its values."""
    if not hasattr(site[leaf], "dequantise"):
        return f(x, weight(site, leaf, key=key))

    def anew(x: Array, own: Any) -> Array:
        return f(x, weight(site | {leaf: own}, leaf, key=key))

    return jax.checkpoint(anew)(x, site[leaf])


def expand(params: Params, key: Key | None = None) -> Params:
    """Run the patches at the root, whose weights live at no single site.

    Each is `patch.expand(params) -> params` and may add patches anywhere below; the
    tree that a checkpoint holds is the one before. With a key, one that has
    `sampled(key) -> patch` is replaced by that first: what a step draws for many
    sites at once.
    """
    found = params.get("patch", {})
    for name in sorted(found):
        patch = found[name]
        if patch.point == "root":
            if key is not None and hasattr(patch, "sampled"):
                patch = patch.sampled(stable_key(key, name))
            params = patch.expand(params)
    return params


def own_tokens(count: int, *values: Any) -> tuple[Any, ...]:
    """Each [B T ...] less the tokens that patches put in front: the last `count`."""
    return jax.tree.map(lambda value: value[:, value.shape[1] - count :], values)
