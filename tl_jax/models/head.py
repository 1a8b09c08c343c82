"""Heads: what turns features or tokens into logits, if the tree has a `head`."""

import jax

from tl_jax.nn import conv, dense, dropout, global_pool, layer_norm
from tl_jax.nn.activations import activate
from tl_jax.nn.conv import Form
from tl_jax.nn.dense import keys, product
from tl_jax.nn.rules import Rules
from tl_jax.types import Array, Key, Params


def head(
    site: Params,
    x: Array,
    *,
    rate: float,
    activation: str,
    key: Key | None,
    rules: Rules = "hand",
) -> Array:
    """Dropout, an optional hidden layer `head/hidden`, and the output layer.

    x [... D] -> [... C], differentiated by `rules` (`nn.rules`).
    """
    k_in, k_hidden, k_out = keys(key, 3)
    x = dropout(x, rate, k_in)
    if "hidden" in site:
        x = activate(activation, dense(site["hidden"], x, rules=rules), rules)
        x = dropout(x, rate, k_hidden)
    return dense(site, x, key=k_out, rules=rules)


def map_head(
    site: Params,
    x: Array,
    *,
    rate: float,
    form: Form,
    key: Key | None,
    rules: Rules = "hand",
) -> Array:
    """Dropout, relu(x W + b) at every place of a map, and the mean over places.

    x [B H W D], kernel [1 1 D C] -> [B C], float32 at least (Lin et al., 2014).
    """
    k_in, k_out = keys(key, 2)
    settings = dict(padding=0, form=form, rules=rules, key=k_out)
    y = conv(site, dropout(x, rate, k_in), **settings)
    return global_pool(jax.nn.relu(y))


def vocabulary_head(
    site: Params,
    table: Array,
    x: Array,
    *,
    activation: str,
    epsilon: float,
    rules: Rules = "hand",
) -> Array:
    """Scores of every token by the input embedding itself: one leaf, used twice.

    x [B T D], table [V D] -> [B T V] (Press and Wolf, 2017).
    """
    x = activate(activation, dense(site["hidden"], x, rules=rules), rules)
    x = layer_norm(site["norm"], x, epsilon, rules)
    return product(x, table.T, rules) + site["bias"]
