"""Batch norm against loops: kept statistics, the batch's own, and derivatives."""

import math
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax import nn

CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def batch_norm_loop(site, mean, var, x, epsilon):
    out = np.zeros(x.shape)
    for at in np.ndindex(x.shape):
        d = at[-1]
        out[at] = (x[at] - mean[d]) / math.sqrt(var[d] + epsilon)
        out[at] = out[at] * site["scale"][d] + site["bias"][d]
    return out


@pytest.fixture
def bn(rng):
    site = {name: rng.standard_normal(3, np.float32) for name in ("scale", "bias")}
    mean, var = rng.standard_normal(3, np.float32), rng.uniform(1, 2, 3)
    return site, mean, var.astype(np.float32), rng.standard_normal((4, 2, 3))


@pytest.mark.parametrize("kind", [nn.Running, nn.Fixed])
def test_batch_norm_by_kept_statistics(bn, kind):
    site, mean, var, x = bn
    x = jnp.asarray(x, jnp.float32)
    got, after = nn.batch_norm(site, kind(mean, var), x)
    want = batch_norm_loop(site, mean, var, np.asarray(x), 1e-5)
    np.testing.assert_allclose(got, want, **CLOSE)
    assert type(after) is kind
    assert after.mean is mean
    assert after.var is var


def test_batch_norm_by_the_batch_moves_statistics(bn):
    """Normalises by the biased variance and keeps the unbiased one, as torch does."""
    site, mean, var, x = bn
    rows = x.astype(np.float32).reshape(8, 3)
    got, after = nn.batch_norm(
        site, nn.Running(mean, var), jnp.asarray(x, jnp.float32), norm="batch"
    )
    for d in range(3):
        own = sum(rows[:, d]) / 8
        square = sum((v - own) ** 2 for v in rows[:, d])
        np.testing.assert_allclose(after.mean[d], 0.9 * mean[d] + 0.1 * own, rtol=1e-4)
        np.testing.assert_allclose(
            after.var[d], 0.9 * var[d] + 0.1 * square / 7, rtol=1e-5
        )
    want = batch_norm_loop(site, rows.mean(0), rows.var(0), x, 1e-5)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_a_batch_s_own_statistics_serve_what_follows(bn):
    """By them it is normalised as by itself, derivatives and all; kept ones are not."""
    site, mean, var, x = bn
    x, kept = jnp.asarray(x, jnp.float32), nn.Running(mean, var)
    got, own = nn.batch_norm(site, kept, x, norm="own")
    np.testing.assert_array_equal(got, nn.batch_norm(site, kept, x, norm="batch")[0])
    rows = np.asarray(x).reshape(8, 3)
    np.testing.assert_allclose(own.mean, rows.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(own.var, rows.var(0), rtol=1e-5)
    np.testing.assert_allclose(
        nn.batch_norm(site, own, x)[0], got, rtol=1e-5, atol=1e-5
    )

    def twice(x, norm):
        _, stats = nn.batch_norm(site, kept, x, norm=norm)
        return jnp.sin(nn.batch_norm(site, stats, x)[0]).sum()

    def once(x):
        return jnp.sin(nn.batch_norm(site, kept, x, norm="batch")[0]).sum()

    want = jax.grad(once)(x)
    np.testing.assert_allclose(jax.grad(twice)(x, "own"), want, rtol=1e-3, atol=1e-4)
    apart = np.abs(jax.grad(twice)(x, "batch") - want).max()
    assert apart > 0.1 * np.abs(want).max()


def test_fixed_statistics_stay_whatever_the_batch(bn):
    site, mean, var, x = bn
    x, fixed = jnp.asarray(x, jnp.float32), nn.Fixed(mean, var)
    for norm in ("batch", "own"):
        got, after = nn.batch_norm(site, fixed, x, norm=norm)
        np.testing.assert_array_equal(got, nn.batch_norm(site, fixed, x)[0])
        assert after is fixed


def test_a_batch_of_one_row_leaves_finite_statistics(bn):
    site, mean, var, _ = bn
    x = jnp.ones((1, 3))
    got, after = nn.batch_norm(site, nn.Running(mean, var), x, norm="batch")
    np.testing.assert_allclose(got, site["bias"][None], **CLOSE)
    np.testing.assert_allclose(after.var, 0.9 * var, **CLOSE)


def test_moved_statistics_carry_no_gradient(bn):
    site, mean, var, x = bn

    def moved(x):
        _, stats = nn.batch_norm(site, nn.Running(mean, var), x, norm="batch")
        return stats.mean.sum() + stats.var.sum()

    np.testing.assert_array_equal(jax.grad(moved)(jnp.asarray(x)), np.zeros(x.shape))


@pytest.mark.parametrize("groups", [1, 2])
def test_batch_norms_rule_is_jaxs_derivative_twice(groups):
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        x, *rest = (jnp.asarray(rng.normal(size=s)) for s in ((4, 3, 2, 5), 5, 5))
        at = (2 + x, *rest)
        way = jax.tree.map(jnp.cos, at)

        def slopes(rules, *at):
            def value(x, scale, bias):
                site, stats = {"scale": scale, "bias": bias}, nn.Running(bias, bias)
                how = dict(norm="batch", groups=groups, rules=rules)
                return jnp.sin(nn.batch_norm(site, stats, x, **how)[0]).sum()

            return jax.grad(value, (0, 1, 2))(*at)

        def along(rules, at):
            found = slopes(rules, *at)
            return sum((a * b).sum() for a, b in zip(found, way, strict=True))

        def every(rules):
            once = partial(slopes, rules)
            thrice = jax.grad(lambda at: jax.jvp(once, at, way)[1][0].sum())(at)
            return once(*at), jax.grad(partial(along, rules))(at), thrice

        got, want = every("hand"), every("auto")
        chex.assert_trees_all_close(got, want, rtol=1e-9, atol=1e-9)
