"""Every point of a site, by toy nodes whose effect is plain."""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_patches import Double, Shift

from tl_jax import nn
from tl_jax.models import mlp
from tl_jax.nn.block import mlp as mlp_layer
from tl_jax.nn.patches import POINTS
from tl_jax.transfer import full, graft
from tl_jax.tree import node, put, static
from tl_jax.types import Array

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@node
class AddInput:
    """value + x, to see which x a layer hands over."""

    rates: ClassVar[Mapping[str, float]] = {}
    weight: Array
    point: str = static("branch")

    def __call__(self, site, value, *, x=None, key=None):
        return value + self.weight * x


@node
class Memory:
    """Further keys [P D] and values [P D] for every row, as prefixes are."""

    point: ClassVar[str] = "kv"
    rates: ClassVar[Mapping[str, float]] = {}
    keys: Array
    values: Array

    def __call__(self, site, value, *, x=None, key=None):
        k, v, mask = value
        batch, heads, _, d = k.shape
        count = len(self.keys)

        def rows(extra):
            split = extra.reshape(count, heads, d).swapaxes(0, 1)
            return jnp.broadcast_to(split, (batch, heads, count, d))

        k = jnp.concatenate([rows(self.keys), k], axis=2)
        v = jnp.concatenate([rows(self.values), v], axis=2)
        seen = jnp.ones((batch, count), bool)
        return k, v, jnp.concatenate([seen, mask], axis=1)


@node
class Prompt:
    """Further tokens [P D] in front of every row."""

    point: ClassVar[str] = "sequence"
    rates: ClassVar[Mapping[str, float]] = {}
    tokens: Array

    def __call__(self, site, value, *, x=None, key=None):
        tokens, mask, positions = value
        shape = (len(tokens), *self.tokens.shape)
        front = jnp.broadcast_to(self.tokens, shape).astype(tokens.dtype)
        seen = jnp.ones(shape[:2], bool)
        return (
            jnp.concatenate([front, tokens], axis=1),
            jnp.concatenate([seen, mask], axis=1),
            positions,
        )


@node
class SharedShift:
    """One vector [D], spread over the queries of all blocks from the root."""

    point: ClassVar[str] = "root"
    rates: ClassVar[Mapping[str, float]] = {}
    amount: Array

    def __call__(self, site, value, *, x=None, key=None):
        raise AssertionError("a node at the root is expanded, never called")

    def expand(self, params):
        for i in params["blocks"]:
            at = f"blocks/{i}/attention/query/patch/shared"
            params = put(params, at, Shift(self.amount))
        return params


@node
class Noise:
    """Random values where there is a key, nothing without."""

    point: ClassVar[str] = "output"
    rates: ClassVar[Mapping[str, float]] = {}
    width: Array

    def __call__(self, site, value, *, x=None, key: Any = None):
        if key is None:
            return value
        return value + self.width * jax.random.normal(key, value.shape)


@pytest.fixture
def site():
    rng = np.random.default_rng(1)
    kernel = rng.standard_normal((3, 2), np.float32)
    return {"kernel": kernel, "bias": np.array([10.0, 20.0], np.float32)}


@pytest.fixture
def x():
    return np.random.default_rng(2).standard_normal((4, 3), np.float32)


def with_patches(site, **patches):
    return site | {"patch": patches}


def test_dense_points(site, x):
    w, b = site["kernel"], site["bias"]
    two = jnp.float32(2.0)
    at_input = nn.dense(with_patches(site, p=Double(two, "input")), x)
    np.testing.assert_allclose(at_input, 2 * x @ w + b, **CLOSE)
    at_product = nn.dense(with_patches(site, p=Double(two, "product")), x)
    np.testing.assert_allclose(at_product, 2 * (x @ w) + b, **CLOSE)
    at_output = nn.dense(with_patches(site, p=Double(two, "output")), x)
    np.testing.assert_allclose(at_output, 2 * (x @ w + b), **CLOSE)


def test_points_behind_the_input_see_the_patched_input(x):
    square = {"kernel": jnp.eye(3), "bias": jnp.zeros(3)}
    patches = {
        "a": AddInput(jnp.float32(1.0), "product"),
        "b": Shift(jnp.float32(5.0), "input"),
    }
    got = nn.dense(with_patches(square, **patches), x)
    np.testing.assert_allclose(got, 2 * (x + 5), **CLOSE)


def test_patches_of_a_point_apply_in_name_order(site, x):
    shift, double = Shift(jnp.float32(1.0)), Double(jnp.float32(2.0))
    plain = nn.dense(site, x)
    first = nn.dense(with_patches(site, b=double, a=shift), x)
    np.testing.assert_allclose(first, 2 * (plain + 1), **CLOSE)
    second = nn.dense(with_patches(site, a=double, b=shift), x)
    np.testing.assert_allclose(second, 2 * plain + 1, **CLOSE)
    jitted = jax.jit(nn.dense)(with_patches(site, b=double, a=shift), x)
    np.testing.assert_allclose(jitted, first, **CLOSE)


def test_norms_and_embeddings_have_an_output(x):
    shift = Shift(jnp.float32(3.0))
    norm = nn.init_norm(3)
    want = nn.layer_norm(norm, x, 1e-5) + 3
    got = nn.layer_norm(with_patches(norm, p=shift), x, 1e-5)
    np.testing.assert_allclose(got, want, **CLOSE)
    stats = nn.Running(jnp.zeros(3), jnp.ones(3))
    want = nn.batch_norm(norm, stats, x)[0] + 3
    got = nn.batch_norm(with_patches(norm, p=shift), stats, x)[0]
    np.testing.assert_allclose(got, want, **CLOSE)
    table = {"embedding": jnp.eye(3)}
    got = nn.embed(with_patches(table, p=shift), jnp.array([1]))
    np.testing.assert_array_equal(got, [[3.0, 4.0, 3.0]])


def test_each_patch_draws_from_a_key_of_its_own_name(site, x):
    noise, key = Noise(jnp.float32(1.0)), jax.random.key(0)
    plain = nn.dense(site, x)
    np.testing.assert_array_equal(nn.dense(with_patches(site, a=noise), x), plain)
    alone = nn.dense(with_patches(site, a=noise), x, key=key)
    other = nn.dense(with_patches(site, b=noise), x, key=key)
    both = nn.dense(with_patches(site, a=noise, b=noise), x, key=key)
    assert np.abs(alone - other).max() > 0.1
    np.testing.assert_allclose(both - plain, alone - plain + other - plain, **CLOSE)


def test_branches_are_patched_before_the_residual_sum(model, params):
    x = np.random.default_rng(4).standard_normal((1, 3, 8), np.float32)
    block, mask = params["blocks"]["0"], jnp.ones((1, 3), bool)
    args = dict(heads=2, epsilon=1e-6)
    for name in ("attention", "mlp"):
        patch = {"p": AddInput(jnp.float32(-1.0))}
        patched = block | {name: block[name] | {"patch": patch}}
        # x + (f(x) - x): what the patch takes away is the very x that is added.
        a = nn.attention(block["attention"], x, mask, heads=2)
        first = a if name == "attention" else x + a
        h = nn.layer_norm(block["norm_attention"], first, 1e-6)
        f = mlp_layer(block["mlp"], h, activation="gelu")
        second = f if name == "mlp" else h + f
        want = nn.layer_norm(block["norm_mlp"], second, 1e-6)
        got = nn.block(patched, x, mask, **args)
        np.testing.assert_allclose(got, want, atol=1e-4)


def test_keys_and_values_grow_at_kv(params):
    """A row's prefix is what a longer row with those keys and values would see."""
    rng = np.random.default_rng(5)
    site = params["blocks"]["0"]["attention"]
    x = rng.standard_normal((2, 5, 8), np.float32)
    front = rng.standard_normal((3, 8), np.float32)
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], bool)
    keys, values = nn.dense(site["key"], front), nn.dense(site["value"], front)
    got = nn.attention(
        with_patches(site, prefix=Memory(keys, values)), x, mask, heads=2
    )
    longer = np.concatenate([np.broadcast_to(front, (2, 3, 8)), x], 1)
    seen = np.concatenate([np.ones((2, 3), bool), mask], 1)
    want = nn.attention(site, longer, seen, heads=2)[:, 3:]
    np.testing.assert_allclose(got, want, **CLOSE)
    assert np.abs(got - nn.attention(site, x, mask, heads=2)).max() > 1e-3


def test_a_prompt_is_tokens_in_front(model, params, inputs):
    prompt = Prompt(jnp.ones((2, 8)))
    patched = put(params, "embed/patch/prompt", prompt)
    out, _ = jax.jit(model.apply)(patched, {}, inputs)
    assert out.tokens.shape == (2, 5, 8)
    plain, _ = model.apply(params, {}, inputs)
    np.testing.assert_allclose(out.hidden[0], plain.hidden[0], **CLOSE)
    assert np.abs(out.hidden[1] - plain.hidden[1]).max() > 1e-4
    for b in range(2):
        rows = [out.tokens[b, t] for t in range(5) if inputs["mask"][b, t]]
        np.testing.assert_allclose(out.features[b], sum(rows) / len(rows), **CLOSE)


def test_padding_changes_nothing_behind_a_prompt(model, params, inputs):
    patched = put(params, "embed/patch/prompt", Prompt(jnp.ones((2, 8))))
    wide, _ = model.apply(patched, {}, inputs)
    short = {name: value[1:, :3] for name, value in inputs.items()}
    alone, _ = model.apply(patched, {}, short)
    np.testing.assert_allclose(wide.features[1], alone.features[0], **CLOSE)


def test_the_root_expands_into_sites(model, params, inputs):
    shared = SharedShift(jnp.linspace(0, 1, 8))
    plan = graft("", "shared", lambda key, site: shared)(
        jax.random.key(0), full(params)
    )
    by_hand = params
    for i in ("0", "1"):
        at = f"blocks/{i}/attention/query/patch/shared"
        by_hand = put(by_hand, at, Shift(shared.amount))
    got = model.apply(plan.params, {}, inputs)[0].features
    want = model.apply(by_hand, {}, inputs)[0].features
    np.testing.assert_array_equal(got, want)
    assert "patch" not in plan.params["blocks"]["0"]["attention"]["query"]

    def loss(params):
        return model.apply(params, {}, inputs)[0].features[:, 0].sum()

    slope = jax.grad(loss)(plan.params)["patch"]["shared"].amount
    by_site = jax.grad(loss)(by_hand)["blocks"]
    sites = [by_site[i]["attention"]["query"]["patch"]["shared"] for i in ("0", "1")]
    np.testing.assert_allclose(slope, sum(s.amount for s in sites), **CLOSE)


def test_an_mlp_reads_the_same_patches():
    model = mlp(3, (4,), classes=2)
    params, stats = model.init(jax.random.key(0))
    inputs = {"features": jnp.ones((2, 3))}
    plain, _ = model.apply(params, stats, inputs)
    patched = put(params, "head/patch/p", Shift(jnp.array([0.0, 9.0])))
    got, _ = model.apply(patched, stats, inputs)
    np.testing.assert_allclose(got.logits, plain.logits + np.array([0, 9]), **CLOSE)


def test_a_point_that_no_layer_has_raises(params):
    bad = graft("blocks/0/mlp", "p", lambda key, site: Shift(jnp.zeros(()), "outptu"))
    with pytest.raises(ValueError, match="point 'outptu', expected one of"):
        bad(jax.random.key(0), full(params))
    assert "outptu" not in POINTS
