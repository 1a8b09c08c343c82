"""Norms and spectra of features against loops in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax.losses.feature_norm import hard_norm, largest_singular, lengths, step_norm

RNG = np.random.default_rng(0)
F = jnp.asarray(RNG.normal(size=(6, 4)), jnp.float32)
W = jnp.asarray([1, 0.5, 2, 1, 0, 0], jnp.float32)
WILD = F.at[4:].set(1e3)


def norms():
    return [sum(float(v) ** 2 for v in row) ** 0.5 for row in np.asarray(F)]


def test_hard_norm_is_a_loop():
    weight = [float(w) for w in W]
    mean = sum(w * n for w, n in zip(weight, norms(), strict=True)) / sum(weight)
    for features in (F, WILD):
        got = jax.jit(hard_norm)(features, W, 3.0)
        np.testing.assert_allclose(got, (mean - 3) ** 2, rtol=1e-5)


def test_step_norm_is_constant_and_pushes_norms_up():
    np.testing.assert_allclose(step_norm(F, W, 0.7), 0.49, rtol=1e-5)
    slope = jax.jit(jax.grad(step_norm))(WILD, W, 0.7)
    for i, (row, norm) in enumerate(zip(np.asarray(F), norms(), strict=True)):
        share = float(W[i]) / float(W.sum())
        want = -2 * 0.7 * share * row / norm
        np.testing.assert_allclose(slope[i], want, rtol=1e-4, atol=1e-6)


def test_rows_of_zeros_have_a_slope():
    dark = F.at[0].set(0)
    for loss in (hard_norm, step_norm):
        slope = jax.grad(loss)(dark, W)
        assert np.isfinite(slope).all()
        np.testing.assert_array_equal(slope[0], 0)
    np.testing.assert_array_equal(lengths(dark)[0], 0)


@pytest.mark.parametrize("k", [1, 3])
def test_largest_singular_values_are_numpys(k):
    real = np.asarray(F, np.float64)[:4]
    want = (np.linalg.svd(real, compute_uv=False)[:k] ** 2).sum()
    np.testing.assert_allclose(
        jax.jit(largest_singular, static_argnums=2)(WILD, W, k), want, rtol=1e-5
    )
    slope = jax.grad(largest_singular)(WILD, W, k)
    u, s, v = np.linalg.svd(real, full_matrices=False)
    wanted = 2 * (u[:, :k] * s[:k]) @ v[:k]
    np.testing.assert_allclose(slope[:4], wanted, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(slope[4:], 0)


def test_vmap_is_a_loop():
    many = jnp.stack([F, 2 * F, F + 1])
    for loss in (hard_norm, step_norm, largest_singular):
        got = jax.vmap(loss, (0, None))(many, W)
        np.testing.assert_allclose(got, [loss(f, W) for f in many], rtol=1e-5)


def test_a_wrong_k_is_told():
    with pytest.raises(ValueError, match=r"k is 5, expected 1..4"):
        largest_singular(F, W, 5)


def test_values_and_slopes_are_tllibs(golden):
    with np.load(golden / "feature_norms.npz") as file:
        theirs = dict(file)
    source, target = (jnp.asarray(theirs[n]) for n in ("source", "target"))
    for name, loss in (
        ("afn", lambda f, w: step_norm(f, w, 0.7)),
        ("bsp", largest_singular),
    ):

        def both(source, loss=loss):
            return loss(source, jnp.ones(6)) + loss(target, jnp.ones(8))

        value, slope = jax.value_and_grad(both)(source)
        np.testing.assert_allclose(value, theirs[name], rtol=1e-5)
        np.testing.assert_allclose(slope, theirs[f"{name}_slope"], rtol=1e-4, atol=1e-4)
