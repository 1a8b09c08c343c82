"""Where a layer meets the patches at its site."""

from typing import Any

from tl_jax.tree import stable_key
from tl_jax.types import Key, Params

POINTS = ("input", "product", "output", "branch", "kv", "sequence", "root")


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


def expand(params: Params) -> Params:
    """Run the patches at the root, whose weights live at no single site.

    Each is `patch.expand(params) -> params` and may add patches anywhere below; the
    tree that a checkpoint holds is the one before.
    """
    found = params.get("patch", {})
    for name in sorted(found):
        if found[name].point == "root":
            params = found[name].expand(params)
    return params
