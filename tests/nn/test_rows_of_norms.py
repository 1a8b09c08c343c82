"""Batch norms that measure rows, or count them by weights."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax import nn
from tl_jax.models import conv4, mlp

SHAPES = {"maps": (5, 2, 3, 4), "features": (5, 4)}


@pytest.fixture(params=SHAPES)
def case(request):
    rng = np.random.default_rng(0)
    site = {n: rng.standard_normal(4, np.float32) for n in ("scale", "bias")}
    x = 2 + rng.standard_normal(SHAPES[request.param], np.float32)
    kept = rng.standard_normal(4, np.float32), rng.uniform(1, 2, 4).astype(np.float32)
    return jax.tree.map(jnp.asarray, (site, x, kept))


def loop_over_rows(x):
    """[B D] means and variances in float64."""
    rows = np.asarray(x, np.float64).reshape(len(x), -1, x.shape[-1])
    mean, var = np.zeros((2, len(x), x.shape[-1]))
    for at in np.ndindex(mean.shape):
        values = list(rows[at[0], :, at[1]])
        mean[at] = sum(values) / len(values)
        var[at] = sum((v - mean[at]) ** 2 for v in values) / len(values)
    return mean, var


@pytest.mark.parametrize("norm", ["running", "batch", "own"])
def test_watched_statistics_normalise_and_measure_each_row(case, norm):
    site, x, kept = case
    got, rows = nn.batch_norm(site, nn.Watched(*kept), x, norm=norm, groups=2)
    want, _ = nn.batch_norm(site, nn.Fixed(*kept), x)
    np.testing.assert_array_equal(got, want)
    mean, var = loop_over_rows(x)
    np.testing.assert_allclose(rows.mean, mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(rows.var, var, rtol=1e-5, atol=1e-6)


def test_pooled_rows_are_moments_of_them_all(case):
    _, x, kept = case
    _, rows = nn.batch_norm({"scale": 1.0, "bias": 0.0}, nn.Watched(*kept), x)
    all_of_them = np.asarray(x, np.float64).reshape(-1, 4)
    got = nn.pooled(rows, jnp.ones(5))
    np.testing.assert_allclose(got.mean, all_of_them.mean(0), rtol=1e-5)
    np.testing.assert_allclose(got.var, all_of_them.var(0), rtol=1e-5)
    weight = np.array([0.5, 0, 3, 1, 0])
    counts = np.repeat(weight, len(all_of_them) // 5)
    mean = (counts[:, None] * all_of_them).sum(0) / counts.sum()
    var = (counts[:, None] * (all_of_them - mean) ** 2).sum(0) / counts.sum()
    got = nn.pooled(rows, jnp.asarray(weight))
    np.testing.assert_allclose(got.mean, mean, rtol=1e-5)
    np.testing.assert_allclose(got.var, var, rtol=1e-5)


def test_own_rows_are_a_batch_without_its_padding(case):
    """Values, statistics and slopes; what padding holds, even NaN, has no part."""
    site, x, kept = case
    weight = jnp.asarray([1.0, 1, 1, 0, 0])
    wild = x.at[3:].set(1e4)

    def value(x, stats, norm):
        y, own = nn.batch_norm(site, stats, x, norm=norm)
        return jnp.sin(y[:3]).sum(), (y[:3], own)

    grad = jax.value_and_grad(value, has_aux=True)
    (_, (got, own)), slope = grad(wild, nn.OwnRows(*kept, weight), "running")
    (_, (want, alone)), wanted = grad(x[:3], nn.Running(*kept), "own")
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    chex.assert_trees_all_close(own, alone, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(slope[:3], wanted, rtol=1e-3, atol=1e-4)
    got, _ = nn.batch_norm(
        site, nn.OwnRows(*kept, weight), x.at[3:].set(jnp.nan), norm="batch"
    )
    np.testing.assert_allclose(got[:3], want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "model, inputs",
    [
        (conv4(size=8, filters=3, depth=2, channels=1), {"image": (4, 8, 8, 1)}),
        (mlp(4, (3, 5), batch_norms=True), {"features": (4, 4)}),
    ],
)
def test_models_hand_rows_through(model, inputs):
    params, stats = model.init(jax.random.key(0))
    rng = np.random.default_rng(1)
    shown = {n: jnp.asarray(rng.normal(size=s)) for n, s in inputs.items()}
    watched = {at: nn.Watched(s.mean, s.var) for at, s in stats.items()}
    got, rows = model.apply(params, watched, shown, norm="batch")
    want, _ = model.apply(params, stats, shown)
    np.testing.assert_allclose(got.features, want.features, rtol=1e-6)
    assert {at: r.mean.shape for at, r in rows.items()} == {
        at: (4, *s.mean.shape) for at, s in stats.items()
    }
