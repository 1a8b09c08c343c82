"""Equinox modules as models, by partition and combine; patches folded in the graph."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from tl_jax.interop.foreign import (
    Foreign,
    as_outputs,
    folded,
    folding,
    refuse_patches,
)
from tl_jax.nn import expand
from tl_jax.tree import SEPARATOR, flatten, path_of, unflatten
from tl_jax.types import Array, Key, Model, Outputs, Params, Stats

REST = ":rest"
"""Where the statistics hold arrays that are no parameters, by path."""


def equinox(
    module: Any,
    inputs: Mapping[str, Any],
    call: Callable[[Any, Mapping[str, Any], Key | None], Any],
    *,
    read: Callable[[Any], Outputs] | None = None,
) -> Foreign:
    """An Equinox module as a `Model`: its arrays as a dict of sites.

    Paths are those of its attributes, `layers/0`. Arrays are seen as all sites here
    have them: `weight` [O I] of Linear as `kernel` [I O], of Conv [O I h w] as
    `kernel` [h w I O] with `bias` [O], of Embedding as `embedding`, of LayerNorm,
    RMSNorm and GroupNorm as `scale`. Every patch is folded into its site in the
    graph, so that gradients reach it through the folded kernel; those that can't be
    folded raise. `init` gives the module's own values, whatever its key.

    `call(module, inputs, key)` maps a whole batch, with `jax.vmap` where the module
    takes single examples; without a key the module is in inference mode. `read` and
    a `head` are as `linen` has them. Integer arrays are constants.

    Raises ImportError without equinox, ValueError for layers that keep a state, as its
    BatchNorm does, and, when first applied or by `check`, for a patch that can't be
    folded.
    """
    import equinox as eqx

    own = split(module)
    what = f"{type(module).__name__} of Equinox"
    headed = any(path.split(SEPARATOR)[0] == "head" for path in own.kinds)

    def dump(params: Params, stats: Stats) -> Any:
        refuse_patches(params, what)
        return own.combine(params, stats)

    def apply(params, stats, inputs, *, key=None, norm="running"):
        params = folded(expand(params), what)
        made = eqx.nn.inference_mode(own.combine(params, stats), value=key is None)
        return as_outputs(call(made, inputs, key), read, params, headed), stats

    def load(module: Any) -> tuple[Params, Stats]:
        return split(module).values()

    out, _ = jax.eval_shape(apply, *own.values(), dict(inputs))
    model = Model(lambda key: own.values(), apply, out.features.shape[-1])
    return Foreign(model, load, dump, folding(what))


class Split(NamedTuple):
    """A module as arrays with holes, the rest, and the layers that are known."""

    arrays: Any
    rest: Any
    kinds: dict[str, str]
    """Path of a layer -> linear, conv, table, norm."""

    def values(self) -> tuple[Params, Stats]:
        """Parameters, and arrays that are none."""
        known = {p: self._seen(p, x) for p, x in flatten(self.arrays).items()}
        params = {p: x for p, x in known.values() if _moves(x)}
        rest = {p: x for p, x in known.values() if not _moves(x)}
        return unflatten(params), {REST: rest} if rest else {}

    def combine(self, params: Params, stats: Stats) -> Any:
        """The module with these arrays."""
        import equinox as eqx

        known = flatten(params) | dict(stats.get(REST, {}))

        def back(keys: Any, leaf: Array) -> Array:
            path, _ = self._seen(path_of(keys), leaf)
            return self._own(path_of(keys), known[path], leaf)

        return eqx.combine(
            jax.tree_util.tree_map_with_path(back, self.arrays), self.rest
        )

    def _seen(self, path: str, leaf: Array) -> tuple[str, Array]:
        """Path and array as sites have them."""
        at, _, name = path.rpartition(SEPARATOR)
        kind = self.kinds.get(at)
        if name == "bias" and kind == "conv":
            return path, leaf.reshape(-1)
        if name != "weight" or kind is None:
            return path, leaf
        new = {"table": "embedding", "norm": "scale"}.get(kind, "kernel")
        leaf = self._turned(kind, leaf)
        return f"{at}{SEPARATOR}{new}" if at else new, leaf

    @staticmethod
    def _turned(kind: str, leaf: Array) -> Array:
        """A weight with its axes as sites have them."""
        if kind == "conv":
            return jnp.moveaxis(leaf, (1, 0), (-2, -1))
        return leaf.T if kind == "linear" else leaf

    def _own(self, path: str, leaf: Array, like: Array) -> Array:
        """An array as the module has it."""
        at, _, name = path.rpartition(SEPARATOR)
        kind = self.kinds.get(at)
        if name == "weight" and kind == "linear":
            return leaf.T
        if name == "weight" and kind == "conv":
            return jnp.moveaxis(leaf, (-2, -1), (1, 0))
        return leaf.reshape(like.shape)


def split(module: Any) -> Split:
    """A module's arrays and layers; raises ValueError for layers that keep a state."""
    import equinox as eqx

    nn = eqx.nn
    classes = {
        "linear": nn.Linear,
        "conv": nn.Conv,
        "table": nn.Embedding,
        "norm": (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm),
    }

    def kind_of(part: Any) -> str | None:
        return next((k for k, c in classes.items() if isinstance(part, c)), None)

    def known(part: Any) -> bool:
        return kind_of(part) is not None or isinstance(part, nn.StateIndex)

    kinds = {}
    for keys, part in jax.tree_util.tree_leaves_with_path(module, is_leaf=known):
        if isinstance(part, nn.StateIndex):
            raise ValueError(
                f"{path_of(keys)!r} keeps a state outside the module, which is not "
                "carried here: use norms without running statistics"
            )
        if kind := kind_of(part):
            kinds[path_of(keys)] = kind
    return Split(*eqx.partition(module, eqx.is_array), kinds)


def _moves(leaf: Array) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.inexact)
