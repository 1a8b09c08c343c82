"""Convolutional networks: shapes, statistics, what moves, and the forms they share."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax import transfer as t
from tl_jax.models import conv4, efficientnet_lite, mobilenet_v2, resnet, squeezenet
from tl_jax.models.inverted import Stage, divisible, drop_path, inverted
from tl_jax.nn import Fixed, Running
from tl_jax.tree import NoMatch, flatten, merge, partition

SMALL = dict(channels=3, classes=3)
STAGES = (Stage(1, 3, 1, 1, 8), Stage(2, 5, 2, 3, 12))
MODELS = {
    "basic": partial(resnet, None, kind="basic", stages=(1, 1), widths=(8, 16)),
    "bottleneck": partial(
        resnet, None, kind="bottleneck", stages=(2, 1), widths=(8, 16), stem="cifar"
    ),
    "inverted": partial(inverted, STAGES, stem=8, last=20),
    "conv4": partial(conv4, size=32, filters=6),
}
COUNTS = {
    "resnet18": (partial(resnet, 18), 11_689_512),
    "resnet34": (partial(resnet, 34), 21_797_672),
    "resnet50": (partial(resnet, 50), 25_557_032),
    "mobilenet_v2": (mobilenet_v2, 3_504_872),
    "efficientnet_lite0": (efficientnet_lite, 4_652_008),
    "efficientnet_lite4": (partial(efficientnet_lite, 4), 13_006_568),
    "squeezenet1_0": (partial(squeezenet, "1.0"), 1_248_424),
    "squeezenet1_1": (partial(squeezenet, "1.1"), 1_235_496),
}
"""Parameters with 1000 classes, as torchvision and the authors of the lite ones say."""


def made(name: str):
    small = dict(stem_width=8) if name in ("basic", "bottleneck") else {}
    model = MODELS[name](**SMALL, **small)
    return model, *model.init(jax.random.key(0))


def images(count: int = 4) -> dict:
    return {"image": jax.random.normal(jax.random.key(1), (count, 32, 32, 3))}


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_are_as_many_as_the_papers(name):
    make, count = COUNTS[name]
    params, stats = jax.eval_shape(make(classes=1000).init, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count
    norms = {path.rpartition("/")[0] for path in flatten(params) if "norm" in path}
    assert norms == set(stats)


@pytest.mark.parametrize("name", MODELS)
def test_outputs_and_statistics(name):
    model, params, stats = made(name)
    run = jax.jit(partial(model.apply, norm="batch"))
    out, moved = run(params, stats, images())
    assert out.features.shape == (4, model.width)
    assert out.logits.shape == (4, 3)
    assert len(out.hidden) >= len(params["blocks"]) + 1
    eager, _ = model.apply(params, stats, images(), norm="batch")
    chex.assert_trees_all_close(out.logits, eager.logits, atol=2e-5)
    for path, node in moved.items():
        assert isinstance(node, Running)
        assert np.abs(node.mean).max() > 0, path
    same, kept = model.apply(params, stats, images())
    chex.assert_trees_all_equal(kept, stats)
    assert np.abs(same.logits - out.logits).max() > 1e-4


def plan_of(name: str, *changes):
    model, params, stats = made(name)
    return model, t.chain(*changes)(jax.random.key(2), t.full(params, stats))


@pytest.mark.parametrize("name", ["basic", "inverted"])
def test_a_frozen_site_neither_uses_nor_moves_batch_statistics(name):
    model, plan = plan_of(name, t.freeze(".*"), t.top(1))
    _, moved = model.apply(plan.params, plan.stats, images(), norm="batch")
    fixed = [path for path, node in plan.stats.items() if isinstance(node, Fixed)]
    assert "embed/norm" in fixed
    assert len(fixed) < len(plan.stats)
    for path in plan.stats:
        same = np.array_equal(plan.stats[path].mean, moved[path].mean)
        assert same == (path in fixed), path
    first = model.apply(plan.params, plan.stats, images(), norm="batch")[0].hidden[0]
    alone = jax.tree.map(lambda x: x[:1], images())
    other = model.apply(plan.params, plan.stats, alone, norm="batch")[0].hidden[0]
    chex.assert_trees_all_close(first[:1], other, atol=1e-5)


def test_only_what_moves_gets_a_gradient():
    model, plan = plan_of("basic", t.freeze(".*"), t.top(1))
    train, frozen = partition(plan.params, t.trainable(plan.rates))

    def loss(train):
        params = merge(train, frozen)
        out, _ = model.apply(params, plan.stats, images(), norm="batch")
        return jnp.square(out.logits).sum()

    grads = flatten(jax.jit(jax.grad(loss))(train))
    assert {path.split("/")[0] for path in grads} == {"blocks", "head"}
    assert all(path.startswith(("blocks/1/", "head/")) for path in grads)
    assert all(np.abs(leaf).max() > 0 for leaf in grads.values())


def test_groups_of_a_batch_norm_are_replicas():
    model, params, stats = made("basic")
    parts = MODELS["basic"](**SMALL, stem_width=8, norm_groups=2)
    x = images()
    whole, moved = parts.apply(params, stats, x, norm="batch")
    halves = [jax.tree.map(lambda a, i=i: a[2 * i : 2 * i + 2], x) for i in range(2)]
    each = [model.apply(params, stats, half, norm="batch") for half in halves]
    joined = jnp.concatenate([out.logits for out, _ in each])
    chex.assert_trees_all_close(whole.logits, joined, atol=2e-5)
    mean = jax.tree.map(lambda a, b: (a + b) / 2, each[0][1], each[1][1])
    chex.assert_trees_all_close(moved, mean, atol=1e-5)


@pytest.mark.parametrize("form", ["lax", "taps", "auto"])
def test_forms_agree_and_weights_may_be_batched(form):
    model = conv4(size=16, filters=4, form=form, **SMALL)
    keys = jax.random.split(jax.random.key(3), 2)
    params, stats = jax.vmap(model.init)(keys)
    x = {"image": images()["image"][:, :16, :16]}

    def loss(params, stats):
        out, _ = model.apply(params, stats, x, norm="batch")
        return jnp.square(out.logits).sum()

    got = jax.vmap(jax.value_and_grad(loss))(params, stats)
    plain = conv4(size=16, filters=4, form="lax", **SMALL)
    for i in range(2):
        own = jax.tree.map(lambda a, i=i: a[i], (params, stats))
        out, _ = plain.apply(*own, x, norm="batch")
        want = jnp.square(out.logits).sum()
        chex.assert_trees_all_close(got[0][i], want, rtol=1e-4)


@pytest.mark.parametrize("down", ["pool", "stride"])
def test_features_of_conv4_have_the_width_it_says(down):
    model = conv4(size=28, down=down)
    params, stats = jax.eval_shape(model.init, jax.random.key(0))
    shape = jax.ShapeDtypeStruct((2, 28, 28, 3), jnp.float32)
    out, _ = jax.eval_shape(model.apply, params, stats, {"image": shape})
    assert out.features.shape == (2, model.width)
    wrong = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)
    with pytest.raises(ValueError, match="28 pixels"):
        jax.eval_shape(model.apply, params, stats, {"image": wrong})
    with pytest.raises(ValueError, match="too small"):
        conv4(size=8, down="pool", depth=5)


def test_dropped_paths_are_whole_examples():
    x = jnp.ones((64, 2, 2, 3))
    y = np.asarray(drop_path(x, 0.25, jax.random.key(0)))
    flat = y.reshape(64, -1)
    assert (flat == flat[:, :1]).all()
    assert set(np.unique(flat)) == {0, np.float32(4 / 3)}
    assert drop_path(x, 0.25, None) is x


def test_widths_round_as_tensorflow_does():
    assert [divisible(w, 8, 8) for w in (5, 11, 12, 22.4, 67)] == [8, 16, 16, 24, 64]


def test_half_precision_stays_near():
    model, params, stats = made("basic")
    low = MODELS["basic"](**SMALL, stem_width=8, dtype=jnp.bfloat16)

    def slope(model):
        def loss(params):
            out, _ = model.apply(params, stats, images(), norm="batch")
            return (out.logits * jnp.arange(3)).sum()

        return jax.jit(jax.value_and_grad(loss))(params)

    want, got = slope(model), slope(low)
    assert abs(got[0] - want[0]) <= 0.05 * abs(want[0]) + 0.05
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(got[1]))


UNKNOWN = {
    "depth '19'.*nearest: 1": partial(resnet, 19),
    "depth 'None'": partial(resnet, None, kind="basic"),
    "stem 'cifra'.*nearest: cifar": partial(resnet, stem="cifra"),
    "kind 'basik'.*nearest: basic": partial(resnet, kind="basik"),
    "down 'strid'.*nearest: stride": partial(conv4, down="strid"),
    "efficientnet_lite '7'": partial(efficientnet_lite, 7),
    "padding 'sama'.*nearest: same": partial(
        inverted, STAGES, stem=8, last=16, padding="sama"
    ),
}


@pytest.mark.parametrize("said", UNKNOWN)
def test_unknown_values_name_the_nearest(said):
    with pytest.raises(NoMatch, match=said):
        UNKNOWN[said]()
