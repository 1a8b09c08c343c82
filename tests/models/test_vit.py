"""The vision transformer: shapes, features, patches of sizes, its positions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax import transfer, tree
from tl_jax.models import vit
from tl_jax.models.vit import cut
from tl_jax.tree import node
from tl_jax.types import Array

SMALL = dict(patch=4, size=8, width=16, depth=2, heads=4, hidden=32)
IMAGE = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)


def made(seed=0, **options):
    model = vit(**SMALL | options)
    params, stats = model.init(jax.random.key(seed))
    rng = np.random.default_rng(seed)
    params = jax.tree.map(
        lambda leaf: leaf + 0.2 * rng.normal(size=leaf.shape).astype(np.float32), params
    )
    return model, params, stats


def run(model, params, image=IMAGE, **options):
    def apply(params, image):
        return model.apply(params, {}, {"image": image}, **options)[0]

    return jax.jit(apply)(params, image)


def test_patches_by_a_loop():
    found = np.asarray(cut(jnp.asarray(IMAGE), (4, 2)))
    expected = [
        [IMAGE[b, r : r + 4, c : c + 2].ravel() for r in (0, 4) for c in (0, 2, 4, 6)]
        for b in range(2)
    ]
    np.testing.assert_array_equal(found, expected)


def test_the_standard_shapes():
    counts = {}
    for shape in ("ti", "s", "b", "l"):
        params, _ = jax.eval_shape(vit(shape, classes=1000).init, jax.random.key(0))
        counts[shape] = tree.count(params)
    assert counts["ti"] == 5_717_416
    assert counts["s"] == 22_050_664
    assert counts["b"] == 86_567_656
    assert counts["l"] == 304_326_632


def test_features_and_shapes():
    model, params, _ = made(features="pooler", classes=5)
    out = run(model, params)
    assert out.logits.shape == (2, 5)
    assert out.tokens.shape == (2, 5, 16)
    assert [h.shape for h in out.hidden] == [(2, 5, 16)] * 3
    site = params["pooler"]
    pooled = np.tanh(out.tokens[:, 0] @ site["kernel"] + site["bias"])
    np.testing.assert_allclose(out.features, pooled, atol=1e-5)
    cls = run(vit(**SMALL, features="cls"), params)
    np.testing.assert_allclose(cls.features, out.tokens[:, 0], atol=1e-6)
    mean = run(vit(**SMALL, features="mean"), params)
    np.testing.assert_allclose(mean.features, out.tokens[:, 1:].mean(1), atol=1e-6)


@node
class Prompt:
    """Two tokens in front of the class token."""

    point = "sequence"
    rates = {}  # noqa: RUF012
    tokens: Array

    def __call__(self, site, value, *, x=None, key=None):
        x, _, at = value
        new = jnp.broadcast_to(self.tokens, (len(x), *self.tokens.shape))
        x = jnp.concatenate([new, x], 1)
        return x, jnp.ones(x.shape[:2], bool), at


@pytest.mark.parametrize("features", ["mean", "cls"])
def test_added_tokens_are_seen_but_not_returned(features):
    model, params, _ = made(features=features)
    add = transfer.graft("embed", "prompt", lambda key, site: Prompt(jnp.ones((2, 16))))
    plan = add(jax.random.key(0), transfer.full(params))
    out = run(model, plan.params)
    assert out.tokens.shape == (2, 5, 16)
    want = out.tokens[:, 1:].mean(1) if features == "mean" else out.tokens[:, 0]
    np.testing.assert_allclose(out.features, want, atol=1e-6)
    assert np.abs(out.features - run(model, params).features).max() > 1e-3


def test_dropout_needs_a_key_and_remat_changes_nothing():
    model, params, _ = made(rate=0.1, attention_rate=0.1)
    plain = run(model, params).features
    key = jax.random.key(1)
    dropped = run(model, params, key=key).features
    assert np.abs(plain - dropped).max() > 1e-2
    again = vit(**SMALL, rate=0.1, attention_rate=0.1, remat=True)

    def value(model, params):
        out, _ = model.apply(params, {}, {"image": IMAGE}, key=key)
        return jnp.square(out.features).sum()

    kept, recomputed = (
        jax.jit(jax.grad(lambda p, m=m: value(m, p)))(params) for m in (model, again)
    )
    for a, b in zip(jax.tree.leaves(kept), jax.tree.leaves(recomputed), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_bfloat16_and_stacked_blocks():
    model, params, _ = made()
    plain = run(model, params).features
    short = run(vit(**SMALL, dtype=jnp.bfloat16), params).features
    assert short.dtype == jnp.float32
    assert np.abs(plain - short).max() / np.abs(plain).max() < 3e-2
    stacked = transfer.stack_layers(transfer.full(params)).params
    np.testing.assert_allclose(run(model, stacked).features, plain, atol=1e-5)


@pytest.mark.parametrize(
    "shape, text",
    [
        ((2, 12, 8, 3), r"3 x 2 patches.*embed/positions/embedding holds 5.*\(3, 2\)"),
        ((2, 9, 8, 3), "9 by 8 does not divide into patches of 4 by 4"),
        ((2, 8, 8, 1), r"\[2, 8, 8, 1\], expected \[B H W 3\]"),
        ((8, 8, 3), r"\[8, 8, 3\], expected"),
    ],
)
def test_images_that_do_not_fit(shape, text):
    model, params, _ = made()
    with pytest.raises(ValueError, match=text):
        model.apply(params, {}, {"image": jnp.zeros(shape)})


@pytest.mark.parametrize(
    "options, text",
    [
        (dict(shape="tiny"), "shape 'tiny' matches nothing; nearest: ti"),
        (dict(features="men"), "features 'men' matches nothing; nearest: mean"),
        (dict(activation="gel"), "activation 'gel' matches nothing; nearest: gelu"),
        (dict(heads=3), "no multiple of 3 heads"),
        (dict(size=9), "9 by 9 does not divide"),
    ],
)
def test_bad_settings(options, text):
    with pytest.raises(ValueError, match=text):
        vit(**SMALL | options)


def cubic(values, place):
    """Four neighbours, weighted one by one."""
    total, first = 0.0, int(np.floor(place))
    for i in range(first - 1, first + 3):
        d = abs(place - i)
        if d <= 1:
            weight = 1.25 * d**3 - 2.25 * d**2 + 1
        else:
            weight = -0.75 * (d**3 - 5 * d**2 + 8 * d - 4)
        total += weight * values[min(max(i, 0), len(values) - 1)]
    return total


def linear(values, place):
    first = int(np.floor(place))
    a, b = (values[min(max(i, 0), len(values) - 1)] for i in (first, first + 1))
    return a + (place - first) * (b - a)


@pytest.mark.parametrize("method, at", [("bicubic", cubic), ("bilinear", linear)])
def test_positions_by_a_loop(method, at):
    model, params, _ = made(size=12)
    table = np.asarray(params["embed"]["positions"]["embedding"])
    change = transfer.resize_positions((5, 2), method=method)
    plan = transfer.full(params)
    plan = change(jax.random.key(0), transfer.freeze("embed/.*")(None, plan))
    found = plan.params["embed"]["positions"]["embedding"]
    grid = table[1:].reshape(3, 3, -1)
    down = [at(grid, (i + 0.5) * 3 / 5 - 0.5) for i in range(5)]
    rows = [at(row, (j + 0.5) * 3 / 2 - 0.5) for row in down for j in range(2)]
    np.testing.assert_allclose(found, np.stack([table[0], *rows]), atol=1e-5)
    assert plan.rates["embed"]["positions"]["embedding"] == 0
    assert run(model, plan.params, np.zeros((1, 20, 8, 3), "f")).tokens.shape[1] == 11
    back = transfer.resize_positions(3, old=(5, 2))(None, plan)
    assert back.params["embed"]["positions"]["embedding"].shape == table.shape


def test_the_same_grid_changes_no_position():
    _, params, _ = made(size=12)
    plan = transfer.resize_positions(3)(None, transfer.full(params))
    for a, b in zip(jax.tree.leaves(plan.params), jax.tree.leaves(params), strict=True):
        np.testing.assert_array_equal(a, b)


def test_bad_grids():
    _, params, _ = made()
    plan = transfer.full(params)
    with pytest.raises(ValueError, match="grid is 0"):
        transfer.resize_positions(0)
    with pytest.raises(ValueError, match="known: bicubic, bilinear"):
        transfer.resize_positions(3, method="nearest")
    with pytest.raises(ValueError, match=r"holds 4 positions.*old=\(3, 2\)"):
        transfer.resize_positions(3, old=(3, 2))(None, plan)
    with pytest.raises(tree.NoMatch, match="nearest: embed/positions"):
        transfer.resize_positions(3, where="embed/position")(None, plan)
    odd = transfer.resize_positions((1, 3))(None, plan)
    with pytest.raises(ValueError, match="no square"):
        transfer.resize_positions(3)(None, odd)
