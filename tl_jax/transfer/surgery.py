"""Change which layers a tree has: heads, stacks."""

import jax
import jax.numpy as jnp
import numpy as np

from tl_jax.nn import normal
from tl_jax.nn.block import block_range
from tl_jax.tree import flatten, get, put, sites, stable_key
from tl_jax.types import Array, Key, Params, Plan, Transfer


def new_head(
    outputs: int, width: int, *, where: str = "head", std: float = 0.02
) -> Transfer:
    """A fresh trainable linear head, kernel [width outputs] and bias [outputs].

    It takes the place of one that is there. `std=0` starts from zeros, as a probe.
    """
    if outputs < 1:
        raise ValueError(f"new_head: outputs is {outputs}, expected at least 1")

    def transfer(key: Key, plan: Plan) -> Plan:
        kernel = normal(stable_key(key, "new_head", where), (width, outputs), std)
        site = {"kernel": kernel, "bias": jnp.zeros(outputs)}
        return plan._replace(
            params=put(plan.params, where, site),
            rates=put(plan.rates, where, {"kernel": 1.0, "bias": 1.0}),
        )

    return transfer


def set_head(kernel: Array, bias: Array, *, where: str = "head") -> Transfer:
    """Write a fitted linear head, kernel [D C] and bias [C], into the tree."""

    def transfer(key: Key, plan: Plan) -> Plan:
        site = {"kernel": kernel, "bias": bias}
        rates = {"kernel": 1.0, "bias": 1.0} | get_or(plan.rates, where)
        return plan._replace(
            params=put(plan.params, where, site),
            rates=put(plan.rates, where, {name: rates[name] for name in site}),
        )

    return transfer


def get_or(tree: Params, path: str) -> Params:
    """The sub-tree at `path`, or an empty one."""
    return get(tree, path) if path in sites(tree) else {}


def stack_layers(plan: Plan) -> Plan:
    """Join consecutive blocks of equal structure, shapes and rates under one scan.

    `blocks/3`, `blocks/4`, `blocks/5` become `blocks/3-5`, each leaf with a leading
    axis of 3: the program's size no longer grows with the depth. Apply it last: rules
    over single blocks match before, not after.
    """

    def joined(params: Params, rates: Params) -> tuple[Params, Params]:
        new_params, new_rates = {}, {}
        for group in _alike(params, rates):
            if len(group) == 1:
                name = group[0]
                new_params[name], new_rates[name] = params[name], rates[name]
                continue
            name = f"{group[0]}-{group[-1]}"
            blocks = [params[member] for member in group]
            new_params[name] = jax.tree.map(lambda *leaves: jnp.stack(leaves), *blocks)
            new_rates[name] = rates[group[0]]
        return new_params, new_rates

    return _over_blocks(plan, joined)


def unstack_layers(plan: Plan) -> Plan:
    """Undo `stack_layers`: single blocks that can be frozen and patched one by one."""

    def split(params: Params, rates: Params) -> tuple[Params, Params]:
        new_params, new_rates = {}, {}
        for name, block in params.items():
            for i, number in enumerate(block_range(name)):
                single = "-" not in name
                new_params[str(number)] = (
                    block if single else jax.tree.map(lambda leaf, i=i: leaf[i], block)
                )
                new_rates[str(number)] = rates[name]
        return new_params, new_rates

    return _over_blocks(plan, split)


def _over_blocks(plan: Plan, change) -> Plan:
    """Apply `change(params, rates)` to every `blocks` dict of the plan."""
    params, rates = plan.params, plan.rates
    for path in sites(params):
        if path.rpartition("/")[2] == "blocks":
            new_params, new_rates = change(get(params, path), get(rates, path))
            params, rates = put(params, path, new_params), put(rates, path, new_rates)
    return plan._replace(params=params, rates=rates)


def _alike(params: Params, rates: Params) -> list[list[str]]:
    """Names of single blocks in groups of consecutive equals; others alone."""
    groups: list[list[str]] = []
    previous = None
    for name in sorted(params, key=lambda name: block_range(name).start):
        shapes = jax.tree.map(lambda leaf: (np.shape(leaf), leaf.dtype), params[name])
        kind = (jax.tree.structure(params[name]), flatten(shapes), flatten(rates[name]))
        follows = previous is not None and int(groups[-1][-1]) + 1 == int(name)
        if "-" not in name and follows and kind == previous:
            groups[-1].append(name)
        else:
            groups.append([name])
        previous = None if "-" in name else kind
    return groups
