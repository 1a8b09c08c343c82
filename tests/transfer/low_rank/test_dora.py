"""DoRA against arithmetic: its dropout, its norm without a gradient, zero columns."""

import jax
import jax.numpy as jnp
import numpy as np
from single_sites import dense_site, drawn, moved, near

from tl_jax import nn
from tl_jax.nn.dense import dropout
from tl_jax.transfer import dora, full
from tl_jax.tree import stable_key

KEY = jax.random.key(0)


def test_dora_s_dropout_is_peft_s():
    """x W + (g - 1) x' W + g s x' a b with x' the dropped input."""
    plan = dora(2, "lin", rate=0.5)(KEY, full({"lin": dense_site()}))
    site, x, key = moved(plan.params)["lin"], drawn(4, 5, 6, seed=3), jax.random.key(7)
    own, kernel = site["patch"]["dora"], np.asarray(site["kernel"])
    delta = np.asarray(own.scale * own.a @ own.b)
    gain = np.asarray(own.magnitude) / np.linalg.norm(kernel + delta, axis=0)
    dropped = np.asarray(dropout(x, 0.5, stable_key(key, "dora")))
    added = (gain - 1) * (dropped @ kernel) + gain * (dropped @ delta)
    near(nn.dense(site, x, key=key), x @ kernel + added + site["bias"])


def test_dora_s_norm_has_no_gradient():
    """By hand: with the norm held still, and not as the whole derivative has it."""
    plan = dora(2, "lin")(KEY, full({"lin": dense_site()}))
    site, x = moved(plan.params)["lin"], drawn(5, 6, seed=3)
    own, target = site["patch"]["dora"], drawn(5, 8, seed=4)
    held = jnp.linalg.norm(site["kernel"] + own.scale * own.a @ own.b, axis=0)

    def by_hand(a, held):
        kernel = site["kernel"] + own.scale * a @ own.b
        norm = jnp.linalg.norm(kernel, axis=0) if held is None else held
        return ((own.magnitude / norm) * (x @ kernel) * target).sum()

    def ours(a):
        patch = {"dora": type(own)(a, own.b, own.magnitude, own.scale)}
        return (nn.dense(site | {"patch": patch}, x) * target).sum()

    found = jax.grad(ours)(own.a)
    near(found, jax.grad(by_hand)(own.a, held))
    whole = jax.grad(by_hand)(own.a, None)
    assert np.abs(found - whole).max() > 0.1 * np.abs(whole).max()


def test_a_zero_column_stays_zero():
    kernel = drawn(6, 8).at[:, 2].set(0)
    plan = dora(2, "lin")(KEY, full({"lin": {"kernel": kernel}}))
    y = nn.dense(plan.params["lin"], drawn(3, 6))
    assert not np.any(y[:, 2])
    assert np.all(np.isfinite(y))
