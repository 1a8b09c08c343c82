"""Transformer blocks, and the runner for a row of them."""

from collections.abc import Callable
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax

from tl_jax.nn.activations import activate
from tl_jax.nn.attention import attention
from tl_jax.nn.dense import dense, dropout, keys
from tl_jax.nn.norms import layer_norm
from tl_jax.nn.patches import patched
from tl_jax.nn.rules import Rules
from tl_jax.types import Array, Key, Params


def mlp(
    site: Params,
    x: Array,
    *,
    activation: str,
    rate: float = 0.0,
    rules: Rules = "hand",
    key: Key | None = None,
) -> Array:
    """down(activation(up(x))). x [B T D] -> [B T D].

    A site with a gate computes down(activation(gate(x)) * up(x)) (Shazeer, 2020).
    Dropout with `rate` acts on what enters `down`. `rules` say how all is
    differentiated (`nn.rules`).
    """
    k_up, k_down, k_branch, k_gate, k_drop = keys(key, 5)
    y = dense(site["up"], x, key=k_up, rules=rules)
    if "gate" in site:
        gate = dense(site["gate"], x, key=k_gate, rules=rules)
        y = activate(activation, gate, rules) * y
    else:
        y = activate(activation, y, rules)
    y = dense(site["down"], dropout(y, rate, k_drop), key=k_down, rules=rules)
    return patched("branch", site, y, x=x, key=k_branch)


def block(
    site: Params,
    x: Array,
    mask: Array,
    *,
    heads: int,
    epsilon: float,
    rate: float = 0.0,
    attention_rate: float = 0.0,
    activation: str = "gelu",
    order: Literal["post", "pre"] = "post",
    rules: Rules = "hand",
    key: Key | None = None,
) -> Array:
    """Attention and MLP, each with a residual sum and a norm. x [B T D] -> [B T D].

    `order="post"`: x <- norm(x + f(x)) (BERT); `"pre"`: x <- x + f(norm(x)) (ViT).
    `rules` say how all is differentiated (`nn.rules`).
    """
    k_a, k_m, k_da, k_dm = keys(key, 4)
    look = dict(heads=heads, rate=attention_rate, rules=rules, key=k_a)
    think = dict(activation=activation, rules=rules, key=k_m)
    norm = partial(layer_norm, epsilon=epsilon, rules=rules)
    norm_a = partial(norm, site["norm_attention"])
    norm_m = partial(norm, site["norm_mlp"])
    if order == "pre":
        y = attention(site["attention"], norm_a(x), mask, **look)
        x = added("attention", site, x, y, norm_a, rate, k_da)
        y = mlp(site["mlp"], norm_m(x), **think)
        return added("mlp", site, x, y, norm_m, rate, k_dm)
    y = attention(site["attention"], x, mask, **look)
    x = norm_a(added("attention", site, x, y, norm_a, rate, k_da))
    y = mlp(site["mlp"], x, **think)
    return norm_m(added("mlp", site, x, y, norm_m, rate, k_dm))


def added(
    layer: Literal["attention", "cross", "mlp"],
    site: Params,
    x: Array,
    y: Array,
    norm: Callable[[Array], Array],
    rate: float = 0.0,
    key: Key | None = None,
) -> Array:
    """x + y, with dropout of the branch y and the block's patches at this sum."""
    k_drop, k_patch = keys(key, 2)
    y = dropout(y, rate, k_drop)
    return x + patched(f"{layer}_sum", site, y, x=(x, norm), key=k_patch)


def block_range(name: str) -> range:
    """The block numbers that a name stands for: `"7"`, or `"3-6"` when stacked."""
    first, _, last = name.partition("-")
    return range(int(first), int(last or first) + 1)


def run_blocks(
    sites: Params,
    x: Array,
    body: Callable[[Params, Array, Key | None], Array],
    *,
    key: Key | None = None,
    remat: bool = False,
) -> tuple[Array, list[Array]]:
    """Run blocks in numerical order; stacked ones under one `lax.scan`.

    `body(site, x, key) -> x`. A block's key is `key` folded with its number, so that
    stacked and single blocks drop the same values. `remat` recomputes each block in
    the backward pass instead of keeping its inside. A block's patches at `tokens` map
    what enters it.

    Returns the last x and every block's output.
    """

    def entered(site: Params, x: Array, key: Key | None) -> Array:
        return body(site, patched("tokens", site, x, key=key), key)

    run = jax.checkpoint(entered) if remat else entered

    def at(number: Array | int) -> Key | None:
        return None if key is None else jax.random.fold_in(key, number)

    def scanned(x: Array, stacked: tuple[Params, Array]) -> tuple[Array, Array]:
        site, number = stacked
        x = run(site, x, at(number))
        return x, x

    hidden = []
    for name in sorted(sites, key=lambda name: block_range(name).start):
        numbers = block_range(name)
        if "-" in name:
            x, outs = lax.scan(scanned, x, (sites[name], jnp.asarray(numbers)))
            hidden.extend(outs)
        else:
            x = run(sites[name], x, at(numbers.start))
            hidden.append(x)
    return x, hidden
