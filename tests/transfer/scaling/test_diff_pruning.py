"""Diff pruning: gates, their price, and what is left of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax import nn
from tl_jax.models.mlp import mlp
from tl_jax.transfer import (
    DiffPruning,
    chain,
    diff_pruning,
    expected_l0,
    fold,
    freeze,
    full,
    prune_diffs,
    totals,
)
from tl_jax.tree import NoMatch, flatten, get, put

KEY = jax.random.key(0)
MODEL = mlp(3, (4,), classes=2)
X = {"features": jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), "float32")}


@pytest.fixture
def plan():
    both = chain(freeze(".*"), diff_pruning("blocks/0|head"))
    return both(KEY, full(*MODEL.init(jax.random.key(1))))


def noisy(plan):
    """The plan with random diffs and gates, some open, some closed."""
    rng = np.random.default_rng(3)
    for path in ("blocks/0", "head"):
        shape = get(plan.params, path)["kernel"].shape
        draw = lambda s, by: jnp.asarray(by * rng.normal(size=s), "float32")  # noqa: E731
        node = DiffPruning(draw(shape, 1.0), draw(shape, 2.0), jnp.float32(2.0))
        plan = plan._replace(params=put(plan.params, f"{path}/patch/diff", node))
    return plan


def test_it_begins_as_the_base_drawn_or_not(plan):
    base = MODEL.init(jax.random.key(1))[0]
    want = MODEL.apply(base, {}, X)[0].logits
    for key in (None, KEY):
        found = MODEL.apply(plan.params, {}, X, key=key)[0].logits
        np.testing.assert_array_equal(found, want)
    # delta and alpha of both kernels, and a gate for each.
    assert totals(plan)[0] == 2 * (3 * 4 + 4 * 2) + 2


def test_gates_by_hand():
    site = {"kernel": jnp.zeros((2, 1))}
    alpha = np.array([[-3.0], [0.5]])
    node = DiffPruning(jnp.ones((2, 1)), jnp.asarray(alpha), jnp.float32(1.0))
    stretched = lambda a: np.clip(3 / (1 + np.exp(-a)) - 1.5, 0, 1)  # noqa: E731
    want = stretched(alpha) * stretched(1.0)
    assert want[0] == 0
    assert 0 < want[1] < 1
    np.testing.assert_allclose(nn.weight(node_at(site, node)), want, rtol=1e-5)


def node_at(site, node):
    return put(site, "patch/diff", node)


def test_drawn_gates_are_open_as_often_as_expected():
    """Shares of draws above zero are sigmoid(alpha): low and high are symmetric."""
    alpha = jnp.repeat(jnp.array([[-1.0], [0.0], [2.0]]), 4000, axis=1)
    node = DiffPruning(jnp.ones_like(alpha), alpha)
    drawn = np.asarray(node.change(KEY))
    share = (drawn > 0).mean(1)
    np.testing.assert_allclose(share, 1 / (1 + np.exp([1.0, 0.0, -2.0])), atol=0.03)
    assert {0.0, 1.0} < set(np.unique(drawn))
    np.testing.assert_allclose(node.open(), 4000 * share.sum(), rtol=0.03)
    whole = DiffPruning(jnp.ones_like(alpha), alpha, jnp.float32(0.0))
    np.testing.assert_allclose(whole.open(), node.open() / 2, rtol=1e-5)
    seen = [(np.asarray(whole.change(jax.random.key(i))) > 0).any() for i in range(40)]
    assert 5 < sum(seen) < 35


def test_the_price_closes_gates(plan):
    moved = noisy(plan)
    train = {p: w for p, w in flatten(moved.params).items() if "alpha" in p}
    grads = flatten(jax.grad(expected_l0)(moved.params))
    assert all((grads[path] > 0).all() for path in train)
    assert all((grads[p] == 0).all() for p in grads if "delta" in p)
    single = sum(
        get(moved.params, p)["patch"]["diff"].open() for p in ("blocks/0", "head")
    )
    np.testing.assert_allclose(expected_l0(moved.params), single, rtol=1e-6)


def test_it_folds_and_a_drawn_gate_moves_its_alpha(plan):
    moved = noisy(plan)
    want = MODEL.apply(moved.params, {}, X)[0].logits
    folded = fold(moved).params
    assert "patch" not in folded["head"]
    np.testing.assert_allclose(MODEL.apply(folded, {}, X)[0].logits, want, rtol=1e-5)

    def loss(params, key):
        return jnp.square(MODEL.apply(params, {}, X, key=key)[0].logits).sum()

    grads = flatten(jax.grad(loss)(moved.params, KEY))
    assert all(
        np.abs(g).max() > 0 for p, g in grads.items() if p.endswith(("delta", "alpha"))
    )


def test_pruning_keeps_the_largest_and_they_go_on_moving(plan):
    moved = noisy(plan)
    kept = prune_diffs(0.25)(KEY, moved)
    assert set(kept.params["patch"]) == {"pruned"}
    assert "patch" not in kept.params["head"]
    changes = {
        f"{p}/kernel": np.asarray(get(moved.params, p)["patch"]["diff"].change())
        for p in ("blocks/0", "head")
    }
    every = np.concatenate([c.ravel() for c in changes.values()])
    k = round(0.25 * every.size)
    bound = np.sort(np.abs(every))[-k]
    assert totals(kept)[0] == k
    folded, base = flatten(fold(kept).params), flatten(fold(plan).params)
    for path, change in changes.items():
        want = base[path] + np.where(np.abs(change) >= bound, change, 0)
        np.testing.assert_allclose(folded[path], want, rtol=1e-5, atol=1e-6)
    with pytest.raises(NoMatch, match="pruned: diffs '.*' matches nothing"):
        prune_diffs(0.25)(KEY, kept)


def test_bad_input_raises(plan):
    with pytest.raises(NoMatch, match="diff: where 'hed'.*nearest: head"):
        diff_pruning("hed")(KEY, plan)
    with pytest.raises(ValueError, match="share is 0"):
        prune_diffs(0)
    with pytest.raises(ValueError, match="'head/patch/diff' is taken by DiffPruning"):
        diff_pruning("head")(KEY, plan)
