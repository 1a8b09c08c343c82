"""Change which layers a tree has: heads, positions, stacks."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from tl_jax.nn import normal
from tl_jax.nn.block import block_range
from tl_jax.tree import flatten, get, no_match, put, sites, stable_key
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


def resize_positions(
    grid: int | tuple[int, int],
    *,
    old: int | tuple[int, int] | None = None,
    method: Literal["bicubic", "bilinear"] = "bicubic",
    where: str = "embed/positions",
) -> Transfer:
    """Interpolate a table of positions, [1+h*w D] -> [1+H*W D], to another grid.

    So that a vision transformer takes images of another size (Dosovitskiy et al.,
    2021). `grid` is (rows, columns) of patches or one number for both, `old` the same
    of what is there, a square by default; the class token's row stays. Pixel centres
    are half-way and edges repeat; the cubic's constant is -0.75 (Keys, 1981), as in
    transformers' `interpolate_pos_encoding`. Rates stay.

    Raises `NoMatch` without the site and ValueError where `old` is not what it holds.
    """
    if method not in ("bicubic", "bilinear"):
        raise ValueError(f"method={method!r}; known: bicubic, bilinear")
    rows, columns = (grid, grid) if isinstance(grid, int) else grid
    if min(rows, columns) < 1:
        raise ValueError(f"resize_positions: grid is {grid}, expected 1 or more")

    def transfer(key: Key, plan: Plan) -> Plan:
        if where not in sites(plan.params):
            raise no_match("resize_positions: where", where, sites(plan.params))
        table = get(plan.params, where)["embedding"]
        tall, broad = _grid_of(len(table) - 1, old, where)
        patches = table[1:].reshape(tall, broad, -1)
        down = interpolation(tall, rows, method).astype(table.dtype)
        along = interpolation(broad, columns, method).astype(table.dtype)
        exact = dict(precision="highest")
        patches = jnp.einsum("Hh,hwd,Ww->HWd", down, patches, along, **exact)
        made = jnp.concatenate([table[:1], patches.reshape(rows * columns, -1)])
        return plan._replace(params=put(plan.params, f"{where}/embedding", made))

    return transfer


def _grid_of(
    count: int, old: int | tuple[int, int] | None, where: str
) -> tuple[int, int]:
    """Rows and columns of a table; raises if they are not what it holds."""
    root = round(count**0.5)
    if old is None and root * root != count:
        raise ValueError(
            f"{where} holds {count} positions beside the class token, no square: "
            "name its rows and columns by old="
        )
    found = (root, root) if old is None else (old, old) if isinstance(old, int) else old
    if found[0] * found[1] != count:
        raise ValueError(
            f"{where} holds {count} positions beside the class token, but old={old}"
        )
    return found


def interpolation(count: int, new: int, method: str) -> np.ndarray:
    """The matrix [new count] that interpolates `count` values at `new` places."""
    places = (np.arange(new) + 0.5) * count / new - 0.5
    first = np.floor(places).astype(int)
    matrix = np.zeros((new, count))
    offsets = range(-1, 3) if method == "bicubic" else range(2)
    for offset in offsets:
        near = np.clip(first + offset, 0, count - 1)
        away = np.abs(places - (first + offset))
        np.add.at(matrix, (np.arange(new), near), _weight(away, method))
    return matrix


def _weight(away: np.ndarray, method: str) -> np.ndarray:
    """What a value at a distance in [0, 2] counts (Keys, 1981, with a = -0.75)."""
    if method == "bilinear":
        return 1 - away
    a = -0.75
    inner = ((a + 2) * away - (a + 3)) * away**2 + 1
    outer = ((away - 5) * away + 8) * a * away - 4 * a
    return np.where(away <= 1, inner, outer)


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
