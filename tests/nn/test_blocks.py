"""Rows of blocks: their order, stacks, keys, and recomputation."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax import nn
from tl_jax.models.bert import init_block
from tl_jax.nn.block import block_range
from tl_jax.transfer import full, lora, stack_layers


@pytest.fixture(scope="module")
def sites():
    keys = jax.random.split(jax.random.key(0), 4)
    return {str(i): init_block(k, 8, 12) for i, k in enumerate(keys)}


@pytest.fixture(scope="module")
def x():
    return jnp.asarray(np.random.default_rng(1).standard_normal((2, 5, 8), np.float32))


@pytest.fixture(scope="module")
def body():
    mask = jnp.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]], bool)
    args = dict(heads=2, epsilon=1e-6, rate=0.3, attention_rate=0.2)
    run = partial(nn.block, **args)
    return lambda site, x, key: run(site, x, mask, key=key)


def test_ten_comes_after_two():
    order = []

    def body(site, x, key):
        order.append(int(site["number"]))
        return x + site["number"]

    sites = {name: {"number": int(name)} for name in ("10", "0", "2", "1")}
    x, hidden = nn.run_blocks(sites, jnp.zeros(()), body)
    assert order == [0, 1, 2, 10]
    assert [float(h) for h in hidden] == [0.0, 1.0, 3.0, 13.0]
    assert float(x) == 13.0


def test_names_of_blocks():
    assert block_range("7") == range(7, 8)
    assert block_range("9-11") == range(9, 12)


def stacked(sites, *groups):
    """Blocks joined by hand: `(1, 2)` becomes `1-2`."""
    new = dict(sites)
    for group in groups:
        blocks = [new.pop(str(i)) for i in group]
        name = f"{group[0]}-{group[-1]}"
        new[name] = jax.tree.map(lambda *leaves: jnp.stack(leaves), *blocks)
    return new


@pytest.mark.parametrize("groups", [((0, 1, 2, 3),), ((1, 2),), ((0, 1), (2, 3))])
@pytest.mark.parametrize("key", [None, 5], ids=["no dropout", "dropout"])
def test_stacked_is_unrolled(sites, x, body, groups, key):
    key = None if key is None else jax.random.key(key)
    want, hidden = nn.run_blocks(sites, x, body, key=key)
    got, outs = nn.run_blocks(stacked(sites, *groups), x, body, key=key)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    assert len(outs) == len(hidden) == 4
    for a, b in zip(outs, hidden, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_a_stack_keeps_the_gradients_of_its_blocks(sites, x, body):
    def loss(sites):
        return jnp.square(nn.run_blocks(sites, x, body, key=jax.random.key(5))[0]).sum()

    want = stacked(jax.grad(loss)(sites), (0, 1, 2, 3))
    got = jax.grad(loss)(stacked(sites, (0, 1, 2, 3)))
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_blocks_with_patches_are_not_joined_with_plain_ones(sites, x, body):
    plan = lora(2, "blocks/[12]/mlp/up")(jax.random.key(1), full({"blocks": sites}))
    joined = stack_layers(plan).params["blocks"]
    assert sorted(joined) == ["0", "1-2", "3"]
    want, _ = nn.run_blocks(plan.params["blocks"], x, body)
    got, _ = nn.run_blocks(joined, x, body)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_each_block_drops_other_values(sites, x):
    seen = []

    def body(site, x, key):
        seen.append(jax.random.key_data(key).tolist())
        return x

    nn.run_blocks(sites, x, body, key=jax.random.key(0))
    assert len({tuple(k) for k in seen}) == 4
    alone = []

    def last(site, x, key):
        alone.append(jax.random.key_data(key).tolist())
        return x

    nn.run_blocks({"3": sites["3"]}, x, last, key=jax.random.key(0))
    assert alone == seen[3:]


@pytest.mark.parametrize("groups", [(), ((0, 1, 2, 3),)], ids=["single", "stacked"])
def test_recomputed_blocks_give_the_same(sites, x, body, groups):
    sites = stacked(sites, *groups)

    @partial(jax.jit, static_argnums=1)
    def run(sites, remat):
        def loss(sites):
            args = dict(key=jax.random.key(5), remat=remat)
            return jnp.square(nn.run_blocks(sites, x, body, **args)[0]).sum()

        return jax.value_and_grad(loss)(sites)

    kept, slopes = run(sites, False)
    again, others = run(sites, True)
    np.testing.assert_allclose(again, kept, rtol=1e-6)
    for a, b in zip(jax.tree.leaves(others), jax.tree.leaves(slopes), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_pre_norm_blocks_add_to_what_they_do_not_normalise(sites, x):
    site, mask = sites["0"], jnp.ones((2, 5), bool)
    got = nn.block(site, x, mask, heads=2, epsilon=1e-6, order="pre")
    h = nn.layer_norm(site["norm_attention"], x, 1e-6)
    y = x + nn.attention(site["attention"], h, mask, heads=2)
    h = nn.layer_norm(site["norm_mlp"], y, 1e-6)
    up = jax.nn.gelu(nn.dense(site["mlp"]["up"], h), approximate=False)
    want = y + nn.dense(site["mlp"]["down"], up)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
