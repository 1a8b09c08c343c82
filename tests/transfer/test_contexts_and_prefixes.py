"""Contexts at sites or shared, norms by step, and prefixes with their masks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax import nn
from tl_jax.models import llama
from tl_jax.models.conv4 import conv4
from tl_jax.models.mlp import mlp
from tl_jax.transfer import (
    Prefix,
    SharedContext,
    at_step,
    chain,
    context,
    fold,
    full,
    per_step_norms,
    prefix,
    stats_at_step,
    warp,
)
from tl_jax.tree import NoMatch, drop, flatten, get, put

KEY = jax.random.key(0)


def dense_plan():
    return full(*mlp(3, (4, 4), classes=2).init(jax.random.key(1)))


def with_context(plan, value):
    """The plan with every context at `value`."""
    leaves = [
        value if p.endswith("/context/context") else x
        for p, x in flatten(plan.params).items()
    ]
    structure = jax.tree.structure(plan.params)
    return plan._replace(params=jax.tree.unflatten(structure, leaves))


def test_a_context_is_further_inputs():
    """x W + b + c u is [x c] times W on top of u."""
    c = jnp.array([0.5, -1.0])
    plan = with_context(context(2, "head")(KEY, dense_plan()), c)
    site, x = (
        plan.params["head"],
        np.random.default_rng(0).normal(size=(5, 4)).astype("f"),
    )
    joint = jnp.concatenate([site["kernel"], site["patch"]["context"].u])
    wanted = np.concatenate([x, np.broadcast_to(c, (5, 2))], 1) @ joint + site["bias"]
    np.testing.assert_allclose(nn.dense(site, x), wanted, rtol=1e-5, atol=1e-6)


def test_a_shared_context_is_the_same_one_everywhere():
    c, where = jnp.array([0.5, -1.0]), r"blocks/\d+"
    model, x = mlp(3, (4, 4), classes=2), {"features": jnp.ones((2, 3))}
    plan = with_context(context(2, where, shared=True)(KEY, dense_plan()), c)
    node = plan.params["patch"]["context"]
    assert isinstance(node, SharedContext)
    apart = with_context(context(2, where)(KEY, dense_plan()), c).params
    for path, u in flatten(node.u).items():
        at = f"{path}/patch/context"
        apart = put(apart, at, type(get(apart, path)["patch"]["context"])(c, u))
    found = model.apply(plan.params, {}, x)[0].logits
    np.testing.assert_allclose(found, model.apply(apart, {}, x)[0].logits, rtol=1e-6)
    plain = model.apply(dense_plan().params, {}, x)[0].logits
    assert np.abs(found - plain).max() > 1e-2


@pytest.mark.parametrize("where", [r"blocks/\d+/conv", r"blocks/\d+/norm"])
def test_film_scales_and_shifts_channels(where):
    """By hand at every channel, and folded into the convolution or the norm."""
    model = conv4(size=4, channels=2, filters=3, depth=2, classes=2)
    params, stats = model.init(jax.random.key(1))
    plan = context(2, where, form="film")(KEY, full(params, stats))
    image = {"image": np.random.default_rng(0).normal(size=(2, 4, 4, 2))}
    first = model.apply(params, stats, image)[0].logits
    np.testing.assert_allclose(
        model.apply(plan.params, stats, image)[0].logits, first, rtol=1e-6
    )
    moved = with_context(plan, jnp.array([0.3, 0.7]))
    found = model.apply(moved.params, stats, image)[0].logits
    assert np.abs(found - first).max() > 1e-3
    np.testing.assert_allclose(
        model.apply(fold(moved).params, stats, image)[0].logits, found, rtol=1e-4
    )
    name = where.rpartition("/")[2]
    site = moved.params["blocks"]["0"][name]
    x = jnp.asarray(image["image"] if name == "conv" else np.ones((2, 4, 4, 3)), "f")
    bare = {k: v for k, v in site.items() if k != "patch"}
    running = stats["blocks/0/norm"]

    def run(site):
        if name == "conv":
            return nn.conv(site, x)
        return nn.batch_norm(site, running, x)[0]

    made = site["patch"]["context"].u.T @ jnp.array([0.3, 0.7])
    wanted = run(bare) * (1 + made[:3]) + made[3:]
    np.testing.assert_allclose(run(site), wanted, rtol=1e-5, atol=1e-5)


def test_a_warp_of_a_convolution_folds():
    model = conv4(size=4, channels=2, filters=3, depth=1, classes=2)
    params, stats = model.init(jax.random.key(1))
    plan = warp("blocks/0/conv")(KEY, full(params, stats))
    image = {"image": np.random.default_rng(0).normal(size=(2, 4, 4, 2))}
    matrix = jax.random.normal(KEY, (3, 3))
    node = plan.params["blocks"]["0"]["conv"]["patch"]["warp"]
    np.testing.assert_array_equal(node.matrix, np.eye(3))
    moved = put(plan.params, "blocks/0/conv/patch/warp", type(node)(matrix))
    found = model.apply(moved, stats, image)[0].logits
    folded = fold(plan._replace(params=moved)).params
    np.testing.assert_allclose(
        model.apply(folded, stats, image)[0].logits, found, rtol=1e-4, atol=1e-5
    )


def test_norms_by_step_show_the_row_of_a_step():
    model = conv4(size=4, channels=2, filters=3, depth=1, classes=2)
    plan = per_step_norms(2)(KEY, full(*model.init(jax.random.key(1))))
    assert plan.rates["blocks"]["0"]["norm"]["scale"] == 0
    assert isinstance(plan.stats["blocks/0/norm"], nn.Running)
    node = plan.params["blocks"]["0"]["norm"]["patch"]["per_step"]
    rows = type(node)(jnp.arange(9.0).reshape(3, 3), node.bias)
    params = put(plan.params, "blocks/0/norm/patch/per_step", rows)
    for step, row in ((0, 0), (1, 1), (2, 2), (9, 2)):
        shown = at_step(params, step)["blocks"]["0"]["norm"]["patch"]["per_step"]
        np.testing.assert_array_equal(shown.scale, rows.scale[row])
        assert stats_at_step(plan.stats, step)["blocks/0/norm"].mean.shape == (3,)
    np.testing.assert_array_equal(rows({}, jnp.ones(3)), rows.scale[0])


@pytest.mark.parametrize("groups", [2, 1])
def test_a_prefix_is_what_tokens_in_front_would_be(groups):
    """Masked rows and grouped heads: the keys and values of a longer row."""
    width = 8 * groups // 2
    site = {
        name: nn.init_dense(k, 8, width if name in ("key", "value") else 8)
        for name, k in zip(
            ("query", "key", "value", "output"), jax.random.split(KEY, 4), strict=True
        )
    }
    rng = np.random.default_rng(5)
    x = rng.standard_normal((2, 5, 8), np.float32)
    front = rng.standard_normal((3, 8), np.float32)
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], bool)
    own = Prefix(nn.dense(site["key"], front), nn.dense(site["value"], front))
    heads = dict(heads=2, kv_heads=groups)
    found = nn.attention(site | {"patch": {"prefix": own}}, x, mask, **heads)
    longer = np.concatenate([np.broadcast_to(front, (2, 3, 8)), x], 1)
    seen = np.concatenate([np.ones((2, 3), bool), mask], 1)
    wanted = nn.attention(site, longer, seen, **heads)[:, 3:]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_padding_stays_unseen_behind_a_prefix(tiny_bert, tokens):
    """Other tokens under the mask change nothing, and a short row is itself alone."""
    plan = prefix(4, std=1.0)(KEY, full(tiny_bert.params, tiny_bert.stats))
    run = jax.jit(lambda inputs: tiny_bert.model.apply(plan.params, {}, inputs)[0])
    first = run(tokens).features
    shown = tokens["mask"].astype(bool)
    wild = tokens | {"tokens": np.where(shown, tokens["tokens"], 7)}
    np.testing.assert_allclose(run(wild).features, first, rtol=1e-5, atol=1e-6)
    alone = {name: x[1:2, :7] for name, x in tokens.items()}
    short = tiny_bert.model.apply(plan.params, {}, alone)[0].features
    np.testing.assert_allclose(short, first[1:2], rtol=1e-4, atol=1e-5)
    plain = tiny_bert.model.apply(tiny_bert.params, {}, tokens)[0].features
    assert first.shape == plain.shape
    assert np.abs(first - plain).max() > 1e-2
    sites = [p for p in flatten(plan.params) if "/patch/" in p]
    assert len(sites) == 4
    keys = plan.params["blocks"]["0"]["attention"]["patch"]["prefix"].keys
    assert keys.shape == (4, 16)


def test_a_prefix_of_a_causal_model():
    """Every token sees it, and none sees a later one."""
    model = llama(vocabulary=20, width=8, depth=1, heads=2, kv_heads=1, hidden=12)
    plan = prefix(2, std=1.0)(KEY, full(*model.init(jax.random.key(1))))
    ids = np.random.default_rng(0).integers(0, 20, (1, 5))
    other = ids.copy()
    other[0, 4] = (other[0, 4] + 1) % 20
    first, second = (
        model.apply(plan.params, {}, {"tokens": x})[0].tokens for x in (ids, other)
    )
    np.testing.assert_allclose(first[:, :4], second[:, :4], rtol=1e-5, atol=1e-6)
    plain = drop(plan.params, "blocks/0/attention/patch")
    without = model.apply(plain, {}, {"tokens": ids})[0].tokens
    assert (np.abs(first - without).max(-1) > 1e-4).all()


def test_bad_arguments_are_named(tiny_bert):
    bert = full(tiny_bert.params, tiny_bert.stats)
    with pytest.raises(ValueError, match="length is 0, expected 1 or more"):
        prefix(0)
    with pytest.raises(NoMatch, match="nearest: blocks/0/attention"):
        prefix(2, "blocks/0/atention")(KEY, bert)
    with pytest.raises(NoMatch, match=r"form 'flim' matches nothing; nearest: film"):
        context(2, ".*", form="flim")
    with pytest.raises(ValueError, match="size is 0, expected 1 or more"):
        context(0, ".*")
    with pytest.raises(NoMatch, match="nearest: head"):
        context(2, "haed", shared=True)(KEY, dense_plan())
    with pytest.raises(
        ValueError, match=r"needs a kernel or a scale.*has \['0', '1'\]"
    ):
        context(2, "blocks", form="film")(KEY, dense_plan())
    twice = chain(context(2, "head"), context(2, "head", shared=True))
    with pytest.raises(ValueError, match="'head/patch/context' is taken"):
        twice(KEY, dense_plan())
