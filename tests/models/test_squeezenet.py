"""SqueezeNet: its two kinds of head, pools with a remainder, what moves, bad images."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax import transfer as t
from tl_jax.models import squeezenet
from tl_jax.models.squeezenet import VERSIONS, least_side
from tl_jax.tree import flatten, merge, partition


def images(size: int = 40, count: int = 3) -> dict:
    shape = (count, size, size - 3, 3)
    return {"image": jax.random.normal(jax.random.key(1), shape)}


@pytest.fixture(scope="module")
def made():
    model = squeezenet(classes=5)
    return model, *model.init(jax.random.key(0))


@pytest.fixture(scope="module")
def outputs(made):
    model, params, stats = made
    return jax.jit(model.apply)(params, stats, images())[0]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("linear", [False, True])
def test_shapes(version, linear):
    model = squeezenet(version, linear=linear, classes=4, channels=1)
    params, stats = model.init(jax.random.key(0))
    assert stats == {}
    x = {"image": jnp.ones((2, 45, 38, 1))}
    run = partial(jax.eval_shape, partial(model.apply, norm="batch"))
    out, kept = run(params, stats, x)
    assert kept == {}
    assert out.features.shape == (2, model.width) == (2, 512)
    assert out.logits.shape == (2, 4)
    widths = [128, 128, 256, 256, 384, 384, 512, 512]
    assert [h.shape[-1] for h in out.hidden] == [VERSIONS[version].stem, *widths]
    bare = {"embed": params["embed"], "blocks": params["blocks"]}
    assert run(bare, stats, x)[0].logits is None


def test_jit_is_eager(made, outputs):
    model, params, stats = made
    eager, _ = model.apply(params, stats, images())
    chex.assert_trees_all_close(outputs, eager, atol=1e-5)


def test_the_head_of_the_paper_by_hand(made, outputs):
    """The mean over places of what each place says, none of it below zero."""
    _, params, _ = made
    kernel, last = np.asarray(params["head"]["kernel"]), np.asarray(outputs.hidden[-1])
    assert kernel.shape == (1, 1, 512, 5)
    bias = np.asarray(params["head"]["bias"])
    places = last.shape[1] * last.shape[2]
    assert places > 1
    for row, logits in zip(last, outputs.logits, strict=True):
        said = np.zeros(5)
        for place in row.reshape(places, 512):
            said += np.maximum(place @ kernel[0, 0] + bias, 0) / places
        np.testing.assert_allclose(logits, said, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(outputs.features, last.mean((1, 2)), rtol=1e-5)


def plan_of(made, *changes):
    return t.chain(*changes)(jax.random.key(2), t.full(*made[1:]))


def test_a_new_head_is_linear_on_the_features(made, outputs):
    model, _, stats = made
    plan = plan_of(made, t.freeze(".*"), t.new_head(3, model.width))
    head = plan.params["head"]
    out, _ = model.apply(plan.params, stats, images())
    want = outputs.features @ head["kernel"] + head["bias"]
    chex.assert_trees_all_close(out.logits, want, atol=1e-5)
    kernel, bias = jnp.ones((512, 2)), jnp.array([0.0, -9.0])
    plan = t.set_head(kernel, bias)(jax.random.key(0), plan)
    out, _ = model.apply(plan.params, stats, images())
    chex.assert_trees_all_close(out.logits, outputs.features @ kernel + bias, rtol=1e-4)
    assert t.totals(plan) == (512 * 2 + 2, 722_496 + 512 * 2 + 2)
    assert "trainable 1,026 of 723,522" in t.describe(plan)


@pytest.mark.parametrize("linear", [False, True])
def test_a_gradient_reaches_every_leaf_that_moves(linear, made):
    model = squeezenet(classes=5, linear=linear)
    params, stats = model.init(jax.random.key(0))

    def slopes(plan):
        train, frozen = partition(plan.params, t.trainable(plan.rates))

        def loss(train):
            out, _ = model.apply(merge(train, frozen), stats, images())
            return (out.logits * jnp.arange(1.0, 6.0)).sum()

        return flatten(jax.jit(jax.grad(loss))(train))

    whole = t.full(params, stats)
    found = slopes(whole)
    assert len(found) == len(flatten(params)) == 2 * 26
    assert all(np.abs(leaf).max() > 0 for leaf in found.values())
    change = t.chain(t.freeze(".*"), t.top(2))
    paths = slopes(change(jax.random.key(0), whole))
    assert {path.rsplit("/", 2)[0] for path in paths} == {
        "blocks/6",
        "blocks/7",
        "head",
    }


def test_low_rank_products_beside_a_new_head(made):
    model, _, stats = made
    head, lora = t.new_head(3, model.width), t.lora(2, "head")
    before, after = plan_of(made, head), plan_of(made, head, lora)
    logits = [
        model.apply(p.params, stats, images())[0].logits
        for p in (before, after, t.fold(after))
    ]
    chex.assert_trees_all_close(logits[0], logits[1], atol=1e-6)
    chex.assert_trees_all_close(logits[0], logits[2], atol=1e-5)


@pytest.mark.parametrize("linear", [False, True])
def test_dropout_is_before_the_head_alone(linear):
    model = squeezenet(classes=5, linear=linear)
    params, stats = model.init(jax.random.key(0))
    apply = jax.jit(model.apply)
    still = apply(params, stats, images())[0]
    one, other = (
        apply(params, stats, images(), key=jax.random.key(i))[0] for i in (0, 1)
    )
    chex.assert_trees_all_equal(one.features, still.features)
    assert np.abs(one.logits - other.logits).max() > 1e-3
    assert np.abs(one.logits - still.logits).max() > 1e-3


def test_forms_and_half_precision_agree(made, outputs):
    _, params, stats = made
    for form in ("lax", "taps"):
        model = squeezenet(classes=5, form=form)
        out, _ = jax.jit(model.apply)(params, stats, images())
        chex.assert_trees_all_close(out.logits, outputs.logits, rtol=1e-4, atol=1e-6)
    model = squeezenet(classes=5, dtype=jnp.bfloat16)
    low, _ = jax.jit(model.apply)(params, stats, images())
    assert low.logits.dtype == jnp.float32
    apart = np.abs(low.logits - outputs.logits).max() / np.abs(outputs.logits).max()
    assert 1e-5 < apart < 0.05


@pytest.mark.parametrize("ceil, count", [(True, 10), (False, 9)])
def test_pools_keep_a_remainder_or_not(ceil, count):
    """Of 20 places behind the stem a tenth window would hold two, not three."""
    model = squeezenet(ceil=ceil)
    params, stats = model.init(jax.random.key(0))
    x = np.asarray(jax.random.normal(jax.random.key(1), (1, 41, 41, 3)))
    kernel = np.asarray(params["embed"]["conv"]["kernel"])
    before = np.zeros((20, 20, 64))
    want = np.zeros((count, count, 64))
    for i, j in np.ndindex(20, 20):
        window = x[0, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
        before[i, j] = np.maximum(np.einsum("hwi,hwio->o", window, kernel), 0)
    for i, j in np.ndindex(count, count):
        want[i, j] = before[2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max((0, 1))
    found = model.apply(params, stats, {"image": x})[0].hidden[0][0]
    np.testing.assert_allclose(found, want, atol=1e-4)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("ceil", [True, False])
def test_the_smallest_image(version, padding, ceil):
    model = squeezenet(version, padding=padding, ceil=ceil)
    params, stats = jax.eval_shape(model.init, jax.random.key(0))
    least = least_side(version, padding, ceil)

    def run(tall, broad):
        image = jax.ShapeDtypeStruct((1, tall, broad, 3), jnp.float32)
        return jax.eval_shape(model.apply, params, stats, {"image": image})[0]

    assert run(least, least).hidden[-1].shape == (1, 1, 1, 512)
    for small in ((least - 1, 64), (64, least - 1)):
        with pytest.raises(ValueError, match=f"at least {least} pixels a side"):
            run(*small)


def test_bad_arguments_and_channels(made):
    model, params, stats = made
    with pytest.raises(ValueError, match=r"version '1\.2' .*1\.1"):
        squeezenet("1.2")
    with pytest.raises(ValueError, match="padding 'half' "):
        squeezenet(padding="half")
    with pytest.raises(ValueError, match="an image with 1 channels"):
        model.apply(params, stats, {"image": jnp.ones((1, 40, 40, 1))})
