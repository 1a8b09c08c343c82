"""Flax NNX modules as models, by split and merge; patches are folded in the graph."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from tl_jax.interop.foreign import (
    Foreign,
    as_outputs,
    by_name,
    folded,
    folding,
    refuse_patches,
)
from tl_jax.interop.linen_layers import Site, flat, unflat
from tl_jax.nn import Fixed, Running, expand
from tl_jax.tree import SEPARATOR, flatten, get, put, stable_key, unflatten
from tl_jax.types import Key, Model, Outputs, Params, Stats

REST = ":rest"
"""Where the statistics hold variables of other kinds, by path."""


def nnx(
    module: Any,
    inputs: Mapping[str, Any],
    *,
    call: Callable[[Any, Mapping[str, Any], bool], Any] | None = None,
    read: Callable[[Any], Outputs] | None = None,
) -> Foreign:
    """An NNX module as a `Model`: split to a dict of sites, merged where it is applied.

    Every patch is folded into its site in the graph, so that gradients reach it
    through the folded kernel, at the price of the kernel's own gradient; those that
    can't be folded raise. Kernels of LinearGeneral are seen with two axes. `init`
    gives the module's own values, whatever its key.

    Batch norms' `mean` and `var` are the plan's statistics, moved by the module's own
    momentum and biased variance. Without a key every `deterministic` is True;
    with one, random streams begin at it, each by its path. Other variables are
    constants. `call`, `read` and a `head` are as `linen` has them.

    Raises ImportError without flax, `NoMatch` for a field that the module does not
    take, ValueError, when first applied or by `check`, for a patch that does not fold.
    """
    own = split(module)
    what = f"{type(module).__name__} of NNX"
    call = call or by_name(module, inputs)
    headed = any(path.split(SEPARATOR)[0] == "head" for path in own.variables)

    def dump(params: Params, stats: Stats) -> Any:
        refuse_patches(params, what)
        return own.merge(params, stats, None)

    def apply(params, stats, inputs, *, key=None, norm="running"):
        params = folded(expand(params), what)
        merged = own.merge(params, stats, key)
        _set_modes(merged, stats, key is not None, norm)
        outputs = as_outputs(
            call(merged, inputs, key is not None), read, params, headed
        )
        return outputs, stats if norm == "running" else _moved(merged, stats, norm)

    def load(module: Any) -> tuple[Params, Stats]:
        return split(module).values()

    params, stats = own.values()
    out, _ = jax.eval_shape(apply, params, stats, dict(inputs))
    model = Model(lambda key: own.values(), apply, out.features.shape[-1])
    return Foreign(model, load, dump, folding(what))


class Split(NamedTuple):
    """A module as structure and variables."""

    graph: Any
    variables: dict[str, tuple[tuple, Any]]
    """Path as text -> (path, variable)."""
    views: dict[str, Site]
    norms: tuple[str, ...]

    def values(self) -> tuple[Params, Stats]:
        """Parameters and statistics."""
        from flax import nnx

        params, rest, stats = {}, {}, {}
        for path, (_, variable) in self.variables.items():
            if isinstance(variable, nnx.Param):
                params[path] = variable[...]
            elif not self._drawn(variable) and not self._statistic(path):
                rest[path] = variable[...]
        tree = unflatten(params)
        for path, view in self.views.items():
            site = get(tree, path)
            tree = put(tree, path, site | flat(site, view))
        for path in self.norms:
            mean, var = (self.variables[f"{path}/{n}"][1][...] for n in ("mean", "var"))
            stats[path] = Running(mean, var)
        return tree, stats | ({REST: rest} if rest else {})

    def merge(self, params: Params, stats: Stats, key: Key | None) -> Any:
        """The module with these values."""
        from flax import nnx

        for path, view in self.views.items():
            site = get(params, path)
            params = put(params, path, site | unflat(site, view))
        known = flatten(params) | dict(stats.get(REST, {}))
        for path in self.norms:
            known |= {f"{path}/mean": stats[path].mean, f"{path}/var": stats[path].var}
        flat_state = {}
        for path, (keys, variable) in self.variables.items():
            if self._drawn(variable):
                value = _drawn(variable, path, key)
            else:
                value = known[path]
            flat_state[keys] = variable.replace(value)
        return nnx.merge(self.graph, nnx.State.from_flat_path(flat_state))

    def _statistic(self, path: str) -> bool:
        site, _, name = path.rpartition(SEPARATOR)
        return site in self.norms and name in ("mean", "var")

    @staticmethod
    def _drawn(variable: Any) -> bool:
        from flax import nnx

        return isinstance(variable, nnx.RngState)


def split(module: Any) -> Split:
    """Structure, variables, and what is known of layers."""
    from flax import nnx

    graph, state = nnx.split(module)
    pairs = nnx.to_flat_state(state)
    variables = {SEPARATOR.join(map(str, keys)): (keys, v) for keys, v in pairs}
    views, norms = {}, []
    for keys, layer in nnx.iter_modules(module):
        path = SEPARATOR.join(map(str, keys))
        if isinstance(layer, nnx.LinearGeneral) and not layer.batch_axis:
            outs = tuple(layer.out_features)
            views[path] = Site((), tuple(layer.in_features), outs)
        if isinstance(layer, nnx.BatchNorm):
            norms.append(path)
    return Split(graph, variables, views, tuple(norms))


def _drawn(variable: Any, path: str, key: Key | None) -> Any:
    """The value of a random stream's variable."""
    from flax import nnx

    if isinstance(variable, nnx.RngKey):
        return variable[...] if key is None else stable_key(key, path)
    return jnp.zeros_like(variable[...])


def _set_modes(module: Any, stats: Stats, draws: bool, norm: str) -> None:
    """Dropout and batch norms of a merged module, which is nobody else's."""
    from flax import nnx

    for keys, layer in nnx.iter_modules(module):
        path = SEPARATOR.join(map(str, keys))
        if hasattr(layer, "deterministic"):
            layer.deterministic = not draws
        if isinstance(layer, nnx.BatchNorm):
            kept = norm == "running" or isinstance(stats[path], Fixed)
            layer.use_running_average = kept
            if norm == "own":
                layer.momentum = 0.0


def _moved(module: Any, stats: Stats, norm: str) -> Stats:
    """The statistics with what a call left in the module."""
    from flax import nnx

    new = dict(stats)
    for keys, layer in nnx.iter_modules(module):
        path = SEPARATOR.join(map(str, keys))
        if isinstance(stats.get(path), Running):
            own = Running(layer.mean[...], layer.var[...])
            new[path] = own if norm == "own" else jax.lax.stop_gradient(own)
    return new
