"""MixStyle: styles mixed in training, nothing without a key."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax.models import conv4, vit
from tl_jax.transfer import MixStyle, fold, full, mix_style, mixed_styles
from tl_jax.tree import NoMatch, paths

KEY = jax.random.key(0)


def loop(x, share, partner, epsilon=1e-6):
    """Row by row and channel by channel, in float64."""
    x = np.asarray(x, np.float64)
    out, rows = np.zeros(x.shape), x.reshape(len(x), -1, x.shape[-1])
    places = out.reshape(rows.shape)
    count = rows.shape[1]
    for i in range(len(x)):
        for c in range(x.shape[-1]):
            styles = []
            for j in (i, partner[i]):
                mean = sum(rows[j, :, c]) / count
                var = sum((v - mean) ** 2 for v in rows[j, :, c]) / max(count - 1, 1)
                styles.append((mean, (var + epsilon) ** 0.5))
            (mean, deviation), (other, spread) = styles
            scale = share[i] * deviation + (1 - share[i]) * spread
            level = share[i] * mean + (1 - share[i]) * other
            places[i, :, c] = (rows[i, :, c] - mean) / deviation * scale + level
    return out


@pytest.fixture
def maps():
    return jnp.asarray(2 + np.random.default_rng(0).normal(size=(4, 3, 2, 3)))


def test_mixed_styles_are_a_loop(maps):
    share, partner = np.array([0.2, 1.0, 0.0, 0.7]), np.array([3, 0, 2, 1])
    got = jax.jit(mixed_styles)(maps, share, partner)
    np.testing.assert_allclose(got, loop(maps, share, partner), rtol=1e-5, atol=1e-5)
    alone = mixed_styles(maps, jnp.ones(4), partner)
    np.testing.assert_allclose(alone, maps, rtol=1e-5, atol=1e-5)
    single = mixed_styles(maps[:, :1, :1], share, partner)
    want = loop(maps[:, :1, :1], share, partner)
    np.testing.assert_allclose(single, want, rtol=1e-5, atol=1e-5)


def test_styles_carry_no_gradient(maps):
    """dy/dx is the ratio of deviations alone, as TLlib detaches them."""
    share, partner = jnp.asarray([0.2, 1, 0, 0.7]), jnp.asarray([3, 0, 2, 1])
    slope = jax.grad(lambda x: mixed_styles(x, share, partner).sum())(maps)
    deviation = np.sqrt(np.asarray(maps).var((1, 2), ddof=1) + 1e-6)
    own = np.asarray(share)[:, None]
    ratio = (own * deviation + (1 - own) * deviation[partner]) / deviation
    want = np.broadcast_to(ratio[:, None, None], maps.shape)
    np.testing.assert_allclose(slope, want, rtol=1e-4)


def small():
    model = conv4(size=8, filters=3, depth=2, channels=1, classes=2)
    return model, full(*model.init(KEY))


def test_only_training_with_a_key_is_mixed():
    model, plan = small()
    mixed = mix_style(share=1.0)(KEY, plan)
    assert paths(mixed.params) == paths(plan.params)
    image = jax.random.normal(KEY, (6, 8, 8, 1))

    def logits(plan, **how):
        return model.apply(plan.params, plan.stats, {"image": image}, **how)[0].logits

    for how in ({}, {"norm": "batch"}):
        np.testing.assert_array_equal(logits(mixed, **how), logits(plan, **how))
    for key in jax.random.split(KEY, 3):
        assert np.abs(logits(mixed, key=key) - logits(plan, key=key)).max() > 1e-3
    kept = fold(mixed)
    assert "mix_style" in kept.params["blocks"]["0"]["patch"]


def test_a_share_of_the_steps_is_mixed(maps):
    node = MixStyle(share=0.25)
    keys = jax.random.split(KEY, 400)
    got = jax.jit(jax.vmap(lambda k: node({}, maps, key=k)))(keys)
    changed = np.abs(got - maps).max((1, 2, 3, 4)) > 1e-3
    assert 0.17 < changed.mean() < 0.33


def test_partners_across_come_from_the_other_half():
    node = MixStyle(partners="across")
    for key in jax.random.split(KEY, 5):
        order = np.asarray(node.order(key, 8))
        assert sorted(order) == list(range(8))
        assert set(order[:4]) == {4, 5, 6, 7}
    with pytest.raises(ValueError, match="there are 7 rows"):
        node.order(KEY, 7)


def test_shares_are_betas_draws():
    """Constant-free: two maps of means 0 and 1 show each row's own share."""
    x = jnp.asarray([[[0.0], [0.1]], [[1.0], [1.1]]])
    node = MixStyle(share=1.0, alpha=0.1, partners="across", epsilon=1e-12)
    keys = jax.random.split(KEY, 2000)
    got = jax.jit(jax.vmap(lambda k: node({}, x, key=k)))(keys)
    share = 1 - (np.asarray(got)[:, 0, :, 0].mean(-1) - 0.05)
    moments = share.mean(), share.var()
    np.testing.assert_allclose(moments, (0.5, 1 / (4 * 1.2)), atol=0.03)


def test_tokens_of_a_transformer_are_mixed():
    model = vit(size=8, patch=4, width=8, depth=2, heads=2, hidden=8, classes=2)
    plan = full(*model.init(KEY))
    mixed = mix_style("blocks/1", 1.0, point="tokens")(KEY, plan)
    inputs = {"image": jax.random.normal(KEY, (4, 8, 8, 3))}
    plain, _ = model.apply(plan.params, {}, inputs, key=KEY)
    got, _ = model.apply(mixed.params, {}, inputs, key=KEY)
    np.testing.assert_array_equal(got.hidden[1], plain.hidden[1])
    assert np.abs(got.hidden[2] - plain.hidden[2]).max() > 1e-3


def test_a_step_of_training_goes_through(maps):
    model, plan = small()
    plan = mix_style(share=1.0)(KEY, plan)
    inputs = {"image": jax.random.normal(KEY, (4, 8, 8, 1))}

    def value(params):
        outputs, _ = model.apply(params, plan.stats, inputs, key=KEY, norm="batch")
        return outputs.logits.sum()

    eager, fast = jax.grad(value)(plan.params), jax.jit(jax.grad(value))(plan.params)
    chex.assert_trees_all_close(eager, fast, rtol=1e-3, atol=1e-4)
    assert np.abs(fast["blocks"]["0"]["conv"]["kernel"]).max() > 0


def test_mistakes_are_told():
    _, plan = small()
    with pytest.raises(ValueError, match="share is 1.5, expected 0..1"):
        mix_style(share=1.5)
    with pytest.raises(ValueError, match="alpha is 0, expected more than 0"):
        mix_style(alpha=0)
    with pytest.raises(NoMatch, match=r"partners 'accross'.*nearest: across"):
        mix_style(partners="accross")
    with pytest.raises(NoMatch, match="where 'block/0'.*blocks/0"):
        mix_style("block/0")(KEY, plan)


def test_styles_are_tllibs_by_its_draws(golden):
    with np.load(golden / "feature_norms.npz") as file:
        theirs = dict(file)
    shares, partners = theirs["shares"], theirs["partners"]
    maps = jnp.asarray(theirs["maps"])
    got = mixed_styles(maps, shares, partners)
    np.testing.assert_allclose(got, theirs["made"], rtol=1e-4, atol=1e-5)

    def value(maps):
        return jnp.square(mixed_styles(maps, shares, partners)).sum()

    slope = jax.grad(value)(maps)
    np.testing.assert_allclose(slope, theirs["made_slope"], rtol=1e-3, atol=1e-4)
