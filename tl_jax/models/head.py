"""Heads: what turns features or tokens into logits, if the tree has a `head`."""

import jax

from tl_jax.nn import conv, dense, dropout, global_pool, layer_norm
from tl_jax.nn.block import ACTIVATIONS
from tl_jax.nn.conv import Form
from tl_jax.nn.dense import keys, product
from tl_jax.types import Array, Key, Params


def head(
    site: Params, x: Array, *, rate: float, activation: str, key: Key | None
) -> Array:
    """Dropout, an optional hidden layer `head/hidden`, and the output layer.

    x [... D] -> [... C].
    """
    k_in, k_hidden, k_out = keys(key, 3)
    x = dropout(x, rate, k_in)
    if "hidden" in site:
        x = ACTIVATIONS[activation](dense(site["hidden"], x))
        x = dropout(x, rate, k_hidden)
    return dense(site, x, key=k_out)


def map_head(
    site: Params, x: Array, *, rate: float, form: Form, key: Key | None
) -> Array:
    """Dropout, relu(x W + b) at every place of a map, and the mean over places.

    x [B H W D], kernel [1 1 D C] -> [B C], float32 at least (Lin et al., 2014).
    """
    k_in, k_out = keys(key, 2)
    y = conv(site, dropout(x, rate, k_in), padding=0, form=form, key=k_out)
    return global_pool(jax.nn.relu(y))


def vocabulary_head(
    site: Params, table: Array, x: Array, *, activation: str, epsilon: float
) -> Array:
    """Scores of every token by the input embedding itself: one leaf, used twice.

    x [B T D], table [V D] -> [B T V] (Press and Wolf, 2017).
    """
    x = ACTIVATIONS[activation](dense(site["hidden"], x))
    x = layer_norm(site["norm"], x, epsilon)
    return product(x, table.T) + site["bias"]
