"""Flax Linen modules as models whose sites take patches, the module untouched."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from tl_jax.interop.foreign import (
    Foreign,
    as_outputs,
    by_name,
    check_patches,
    checker,
    refuse_patches,
)
from tl_jax.interop.linen_layers import MARK, How, Mark, Site, flat, interceptor, unflat
from tl_jax.nn import Fixed, Running, expand
from tl_jax.tree import SEPARATOR, get, matches, put, sites, stable_key
from tl_jax.types import Key, Model, Outputs, Params, Plan, Stats, Transfer

HEAD = dict.fromkeys(("head", "head/hidden"), ("kernel", "input", "product", "output"))
"""What a head that was added serves."""
OTHERS = ":"
"""Before the name of a collection, in the statistics, that is not batch norm's."""


def linen(
    module: Any,
    inputs: Mapping[str, Any],
    *,
    call: Callable[[Any, Mapping[str, Any], bool], Any] | None = None,
    read: Callable[[Any], Outputs] | None = None,
    streams: tuple[str, ...] = ("dropout",),
) -> Foreign:
    """A Linen module as a `Model` whose layers take the patches at their sites.

    Its parameters, a nested dict, are the plan's; kernels and biases of DenseGeneral
    are seen with two axes and one, [I O] and [O]. Patches are served at the points

    - kernel, input, product, output, branch: Dense, DenseGeneral, Conv, ConvTranspose
    - kernel, output, branch: Embed
    - output, branch: every other module that returns one array
    - root: at the root

    by an interceptor that reads them inside the traced function, from the parameters
    that Flax hands to the module: under `jit`, `grad`, `vmap`, and in modules lifted
    by `nn.scan` (graft by `over_layers`), `nn.remat`, `nn.vmap` and `nn.jit`.

    `inputs` are examples of a batch, or their shapes. `call(module, inputs, train)`
    calls the module; by default fields are arguments by name, a single one the first
    argument, and `train`, `training`, `is_training`, `deterministic` and
    `use_running_average` say whether there is a key. Each BatchNorm goes by `norm` and
    its statistics, whatever the module says; without a key there is no dropout.
    `read(result)` gives `Outputs`; by default a result [B ... D] is features and
    logits. A `head` in the parameters, as `new_head` makes, reads the features if the
    module has none.

    BatchNorm's `batch_stats` are the plan's statistics, `Running` or `Fixed`, moved by
    the module's own momentum and biased variance; other collections are constants,
    under `:name`. The first of `streams` gets the step's key itself.

    Raises ImportError without flax, `NoMatch` for a field that the module does not
    take, ValueError, when first applied or by `check`, for patches that nobody serves.
    """
    own = Wrapped(module, call or by_name(module, inputs), streams, object())
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), x.dtype), inputs)
    what = f"{type(module).__name__} of Linen"
    table = own.table(shapes)
    points = HEAD | {path: site.points for path, site in table.items()}
    headed = any(path.split(SEPARATOR)[0] == "head" for path in table)

    def load(variables: Any) -> tuple[Params, Stats]:
        return _load(_plain(variables), table)

    def dump(params: Params, stats: Stats) -> Any:
        refuse_patches(params, what)
        return _dump(params, stats, table)

    def init(key: Key) -> tuple[Params, Stats]:
        return load(own.start(key, _zeros(shapes)))

    def apply(params, stats, inputs, *, key=None, norm="running"):
        params = expand(params)
        check_patches(params, points, what)
        fixed = frozenset(p for p, s in stats.items() if isinstance(s, Fixed))
        how = How(key is not None, norm, fixed, streams[0] if streams else "")
        more = {} if norm == "running" else {"mutable": ["batch_stats"]}
        variables = _dump(params, stats, table)
        result = own.run(variables, inputs, key, interceptor(table, how), how, **more)
        if more:
            result, moved = result
            stats = _moved(stats, moved.get("batch_stats", {}), norm)
        return as_outputs(result, read, params, headed), stats

    out, _ = jax.eval_shape(lambda: apply(*init(jax.random.key(0)), _zeros(shapes)))
    model = Model(init, apply, out.features.shape[-1])
    return Foreign(model, load, dump, checker(points, what))


class Wrapped(NamedTuple):
    """A module and how it is called."""

    module: Any
    call: Callable[[Any, Mapping[str, Any], bool], Any]
    streams: tuple[str, ...]
    token: object
    """Tells this wrapping's traces from all others'."""

    def start(self, key: Key, inputs: Any) -> dict[str, Any]:
        """Initial variables."""
        rngs = {"params": key} | _keys(stable_key(key, "init"), self.streams)
        first = self.module.init(rngs, method=lambda own: self.call(own, inputs, False))
        return _plain(first)

    def run(self, variables, inputs, key, around, how, **more: Any) -> Any:
        """What the module returns with an interceptor around all its layers."""
        import flax.linen as nn

        marked = {"params": _marked(variables, (self.token, how))}
        rngs = None if key is None else _keys(key, self.streams)
        with nn.intercept_methods(around):
            return self.module.apply(
                variables | marked,
                method=lambda own: self.call(own, inputs, key is not None),
                rngs=rngs,
                **more,
            )

    def table(self, shapes: Any) -> dict[str, Site]:
        """Every site that a call reaches, by one trace on shapes."""
        record: dict[str, Site] = {}
        how = How(False, "running", frozenset(), "")

        def trace() -> Any:
            inputs = _zeros(shapes)
            variables = self.start(jax.random.key(0), inputs)
            return self.run(variables, inputs, None, interceptor({}, how, record), how)

        jax.eval_shape(trace)
        return record


def over_layers(where: str, transfer: Transfer) -> Transfer:
    """A transform of each layer of a lifted module: of `nn.scan` or `nn.vmap`.

    Parameters at the matching paths are stacked, [L ...]; the transform sees those of
    one layer at the same paths, and its grafts are stacked likewise, each layer's by a
    key of its own. Raises `NoMatch` with the nearest sites, ValueError where leaves
    have no common first axis.
    """

    def change(key: Key, plan: Plan) -> Plan:
        for path in matches(where, sites(plan.params), "over_layers: where"):
            part, old = get(plan.params, path), get(plan.rates, path)
            sizes = {leaf.shape[:1] for leaf in jax.tree.leaves(part)}
            if len(sizes) != 1 or sizes == {()}:
                raise ValueError(
                    f"over_layers: leaves of {path!r} begin with axes of "
                    f"{sorted(sizes)}, expected one of layers, the same for all"
                )
            new_rates: list[Any] = []

            one = _of_layer(transfer, path, old, new_rates)

            keys = jax.random.split(stable_key(key, path), sizes.pop()[0])
            params = put(plan.params, path, jax.vmap(one)(keys, part))
            rates = put(plan.rates, path, new_rates[0])
            plan = plan._replace(params=params, rates=rates)
        return plan

    return change


def _of_layer(transfer: Transfer, path: str, rates: Any, found: list) -> Callable:
    """(key, a layer's sub-tree) -> the changed one; its rates, static, into `found`."""

    def one(key: Key, part: Any) -> Any:
        own = transfer(key, Plan(put({}, path, part), put({}, path, rates), {}))
        found.append(get(own.rates, path))
        return get(own.params, path)

    return one


def _zeros(shapes: Any) -> Any:
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)


def _plain(variables: Any) -> dict[str, Any]:
    """Nested dicts of arrays, out of Flax's boxes."""
    from flax.core import meta, unfreeze

    return meta.unbox(unfreeze(variables))


def _load(variables: dict[str, Any], table: Mapping[str, Site]) -> tuple[Params, Stats]:
    params, stats = variables.get("params", {}), {}
    for path, found in table.items():
        if found.ins:
            site = get(params, path)
            params = put(params, path, site | flat(site, found))
    for name, tree in variables.items():
        if name == "batch_stats":
            for path, site in sites(tree).items():
                if "mean" in site and not isinstance(site["mean"], dict):
                    stats[path] = Running(site["mean"], site["var"])
        elif name != "params":
            stats[OTHERS + name] = tree
    return params, stats


def _dump(params: Params, stats: Stats, table: Mapping[str, Site]) -> dict[str, Any]:
    """Variables as Flax has them; patches stay where they are."""
    for path, found in table.items():
        if found.ins:
            site = get(params, path)
            params = put(params, path, site | unflat(site, found))
    variables: dict[str, Any] = {"params": params}
    for path, own in stats.items():
        if path.startswith(OTHERS):
            variables[path.removeprefix(OTHERS)] = own
        else:
            batch = variables.setdefault("batch_stats", {})
            site = {"mean": own.mean, "var": own.var}
            variables["batch_stats"] = put(batch, path, site)
    return variables


def _moved(stats: Stats, moved: Any, norm: str) -> Stats:
    """The statistics with what a call left in `batch_stats`."""

    def new(path: str, old: Any) -> Any:
        if not isinstance(old, Running):
            return old
        site = get(moved, path)
        own = Running(site["mean"], site["var"])
        return own if norm == "own" else jax.lax.stop_gradient(own)

    return {path: new(path, old) for path, old in stats.items()}


def _marked(variables: Mapping[str, Any], how: Any) -> Params:
    """The parameters with a mark in each dict, and where statistics are."""
    params = variables.get("params", {})

    for path in sites(params) | sites(variables.get("batch_stats", {})):
        at = f"{path}/{MARK}" if path else MARK
        params = put(params, at, Mark((*how, path)))
    return params


def _keys(key: Key, streams: tuple[str, ...]) -> dict[str, Key]:
    return {s: stable_key(key, s) if i else key for i, s in enumerate(streams)}
