"""Visual prompts, shallow and deep, against blocks run by hand."""

import jax
import numpy as np
import pytest

from tl_jax import nn
from tl_jax.models import vit
from tl_jax.transfer import (
    chain,
    freeze,
    full,
    merge,
    partition,
    prefix,
    prompt,
    stack_layers,
    totals,
    trainable,
    vpt,
)
from tl_jax.tree import flatten

KEY = jax.random.key(0)
SIZES = dict(patch=4, size=8, channels=2, width=8, depth=3, heads=2, hidden=12)
MODEL = vit(**SIZES)
IMAGE = {"image": np.random.default_rng(0).normal(size=(2, 8, 8, 2)).astype("f")}


@pytest.fixture(scope="module")
def base():
    return full(*MODEL.init(jax.random.key(1)))


def tokens_of(params):
    """Each block's own prompt, None where it has none."""
    first = params["embed"]["patch"]["vpt"].tokens
    rest = [params["blocks"][str(i)].get("patch", {}).get("vpt") for i in (1, 2)]
    return [first, *(None if p is None else p.tokens for p in rest)]


@pytest.mark.parametrize("deep", [False, True])
def test_blocks_read_their_prompts(base, deep):
    """By hand: in front of the class token, later ones in the place of earlier."""
    plan = vpt(3, deep=deep)(KEY, base)
    own = tokens_of(plan.params)
    assert [x is not None for x in own] == [True, deep, deep]
    x = MODEL.apply(base.params, {}, IMAGE)[0].hidden[0]
    spread = lambda t: np.broadcast_to(t, (2, 3, 8))  # noqa: E731
    x = np.concatenate([spread(own[0]), x], axis=1)
    mask = np.ones(x.shape[:2], bool)
    for i in range(3):
        if own[i] is not None:
            x = np.concatenate([spread(own[i]), x[:, 3:]], axis=1)
        site = base.params["blocks"][str(i)]
        x = nn.block(site, x, mask, heads=2, epsilon=1e-6, order="pre")
    out = MODEL.apply(plan.params, {}, IMAGE)[0]
    want = nn.layer_norm(base.params["norm"], x, 1e-6)[:, 3:]
    np.testing.assert_allclose(out.tokens, want, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(out.features, want[:, 0], rtol=1e-5, atol=1e-5)
    joined = MODEL.apply(stack_layers(plan).params, {}, IMAGE)[0]
    np.testing.assert_allclose(joined.tokens, out.tokens, rtol=1e-5, atol=1e-5)


def test_means_are_of_the_patches_alone(base):
    params = vpt(3)(KEY, base).params
    out = vit(**SIZES, features="mean").apply(params, {}, IMAGE)[0]
    np.testing.assert_allclose(out.features, out.tokens[:, 1:].mean(1), rtol=1e-5)
    assert out.tokens.shape == (2, 5, 8)


@pytest.mark.parametrize("deep, count", [(False, 24), (True, 72)])
def test_what_moves_and_how_it_starts(base, deep, count):
    """Uniform between -b and b, b^2 = 6 / (4 x 4 x 2 + 8)."""
    plan = chain(freeze(".*"), vpt(3, deep=deep))(KEY, base)
    assert totals(plan)[0] == count
    bound = (6 / 40) ** 0.5
    drawn = np.concatenate([t.ravel() for t in tokens_of(plan.params) if t is not None])
    assert np.abs(drawn).max() <= bound
    assert np.abs(drawn).max() > 0.8 * bound
    assert len(np.unique(drawn)) == count
    train, frozen = partition(plan.params, trainable(plan.rates))

    def loss(train):
        out = MODEL.apply(merge(train, frozen), {}, IMAGE)[0]
        return out.features[:, 0].sum()

    grads = flatten(jax.grad(loss)(train))
    assert set(grads) == {p for p in flatten(plan.params) if "/patch/" in p}
    assert all(np.abs(g).max() > 0 for g in grads.values())


def test_prompts_are_dropped_only_where_there_is_a_key(base):
    params = vpt(3, deep=True, rate=0.5)(KEY, base).params
    same = vpt(3, deep=True)(KEY, base).params
    run = lambda p, key=None: MODEL.apply(p, {}, IMAGE, key=key)[0].features  # noqa: E731
    np.testing.assert_array_equal(run(params), run(same))
    first, second = (run(params, jax.random.key(i)) for i in (1, 2))
    assert np.abs(first - second).max() > 1e-4
    np.testing.assert_array_equal(run(same, jax.random.key(1)), run(same))


def test_what_does_not_fit_is_told(base):
    with pytest.raises(ValueError, match="length is 0"):
        vpt(0)
    with pytest.raises(ValueError, match="rate is 1"):
        vpt(2, rate=1)
    with pytest.raises(ValueError, match=r"'embed/patch/vpt' puts tokens in front"):
        chain(vpt(2, deep=True), vpt(2, name="more"))(KEY, base)
    with pytest.raises(
        ValueError, match=r"has class, patches, positions, expected tok"
    ):
        prompt(2)(KEY, base)
    with pytest.raises(ValueError, match=r"prefix, shift: .*reads no words"):
        prefix(2, shift=True)(KEY, base)
    words = full({"embed": {"tokens": {"embedding": np.ones((4, 8))}}, "blocks": {}})
    with pytest.raises(ValueError, match=r"has tokens, expected patches"):
        vpt(2)(KEY, words)
