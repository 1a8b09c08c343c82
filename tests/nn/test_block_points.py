"""Points of blocks, kernels and positions, by toy nodes whose effect is plain."""

from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_patches import Double, Shift

from tl_jax import nn
from tl_jax.models import bert
from tl_jax.nn.block import mlp as mlp_layer
from tl_jax.transfer import full, stack_layers
from tl_jax.tree import node, put, static
from tl_jax.types import Array

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@node
class OfTheSum:
    """value + share norm(stream + value), at a sum."""

    rates: ClassVar[Mapping[str, float]] = {}
    share: Array
    point: str = static("mlp_sum")

    def __call__(self, site, value, *, x=None, key=None):
        stream, norm = x
        return value + self.share * norm(stream + value)


@pytest.mark.parametrize("order", ["post", "pre"])
def test_a_sum_sees_the_stream_and_its_norm(order):
    model = bert(width=8, heads=2, depth=1, hidden=16, vocabulary=20, positions=9)
    site = model.init(jax.random.key(3))[0]["blocks"]["0"]
    x = jax.random.normal(jax.random.key(4), (2, 5, 8))
    mask = jnp.ones((2, 5), bool)
    args = dict(heads=2, epsilon=1e-5, order=order)
    bare = put(site, "norm_mlp/scale", 1 + jnp.arange(8.0))
    norm = lambda x: nn.layer_norm(bare["norm_mlp"], x, 1e-5)  # noqa: E731
    got = nn.block(put(bare, "patch/p", OfTheSum(jnp.float32(2))), x, mask, **args)
    if order == "post":
        y = nn.attention(bare["attention"], x, mask, heads=2)
        stream = nn.layer_norm(bare["norm_attention"], x + y, 1e-5)
        branch = mlp_layer(bare["mlp"], stream, activation="gelu")
        want = norm(stream + branch + 2 * norm(stream + branch))
    else:
        seen = nn.layer_norm(bare["norm_attention"], x, 1e-5)
        stream = x + nn.attention(bare["attention"], seen, mask, heads=2)
        branch = mlp_layer(bare["mlp"], norm(stream), activation="gelu")
        want = stream + branch + 2 * norm(stream + branch)
    np.testing.assert_allclose(got, want, **CLOSE)


def test_what_enters_a_block_is_mapped_single_and_stacked(model, params, inputs):
    shift = Shift(jnp.linspace(0, 1, 8), "tokens")
    got = model.apply(put(params, "blocks/1/patch/p", shift), {}, inputs)[0]
    plain = model.apply(params, {}, inputs)[0]
    np.testing.assert_array_equal(got.hidden[1], plain.hidden[1])
    block = dict(heads=2, epsilon=1e-12)
    mask = jnp.asarray(inputs["mask"], bool)
    want = nn.block(
        params["blocks"]["1"], plain.hidden[1] + shift.amount, mask, **block
    )
    np.testing.assert_allclose(got.hidden[2], want, **CLOSE)
    both = put(params, "blocks/1/patch/p", shift)
    both = put(both, "blocks/0/patch/p", Shift(shift.amount + 1, "tokens"))
    stacked = stack_layers(full(both)).params
    assert list(stacked["blocks"]) == ["0-1"]
    one, other = (model.apply(p, {}, inputs)[0].features for p in (both, stacked))
    np.testing.assert_allclose(one, other, **CLOSE)


def test_a_kernel_is_mapped_before_its_product():
    site = {"kernel": jnp.eye(3), "patch": {"p": Shift(jnp.ones((3, 3)), "kernel")}}
    x = jnp.array([[1.0, 2.0, 4.0]])
    np.testing.assert_allclose(nn.dense(site, x), x + x.sum(), **CLOSE)
    table = {
        "embedding": jnp.eye(3),
        "patch": {"p": Double(jnp.full((), 2.0), "kernel")},
    }
    np.testing.assert_allclose(nn.embed(table, jnp.array([1])), [[0, 2, 0]], **CLOSE)
    picture = {"kernel": jnp.ones((1, 1, 3, 2)), "patch": site["patch"]}
    picture["patch"] = {"p": Shift(jnp.ones(()), "kernel")}
    got = nn.conv(picture, x[None, None])
    np.testing.assert_allclose(got, np.full((1, 1, 1, 2), 14.0), **CLOSE)


def test_positions_are_mapped_before_they_are_looked_up(model, params, inputs):
    shift = Shift(jnp.int32(2), "positions")
    got = model.apply(put(params, "embed/patch/p", shift), {}, inputs)[0]
    table = params["embed"]["positions"]["embedding"]
    moved = put(params, "embed/positions/embedding", table[2:])
    np.testing.assert_array_equal(
        got.features, model.apply(moved, {}, inputs)[0].features
    )
