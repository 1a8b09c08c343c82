"""VeRA's shared matrices: of one seed, saved, read in part."""

import jax
import numpy as np
import pytest

from tl_jax import nn
from tl_jax.transfer import (
    chain,
    describe,
    diff,
    freeze,
    full,
    partition,
    trainable,
    vera,
    with_projections,
)
from tl_jax.tree import count, flatten

KEY = jax.random.key(0)
SIZES = {"first": (6, 8), "second": (8, 3)}


def drawn(*shape, seed=0):
    return jax.numpy.asarray(
        np.random.default_rng(seed).standard_normal(shape, np.float32)
    )


@pytest.fixture
def base():
    return {name: {"kernel": drawn(*size)} for name, size in SIZES.items()}


def tuned(base, key=KEY, **how):
    """A plan whose vectors have moved."""
    plan = chain(freeze(".*"), vera(4, ".*", **how))(key, full(base))
    train, frozen = partition(plan.params, trainable(plan.rates))
    moved = jax.tree.map(lambda x: x + drawn(*x.shape, seed=3), train)
    merged = jax.tree.map(
        lambda a, b: b if a is None else a, moved, frozen, is_leaf=lambda x: x is None
    )
    return plan._replace(params=merged)


def run(params, x):
    params = nn.expand(params)
    return nn.dense(params["second"], nn.dense(params["first"], x))


def test_each_site_reads_a_part_of_one_pair(base):
    plan = tuned(base)
    own = plan.params["patch"]["vera"]
    assert own.a.shape == (8, 4)
    assert own.b.shape == (4, 8)
    x = np.asarray(drawn(5, 6, seed=1))
    for name, (d_in, d_out) in SIZES.items():
        site = plan.params[name]
        mine = site["patch"]["vera"]
        low = (x @ own.a[:d_in]) * mine.d
        x = x @ site["kernel"] + (low @ own.b[:, :d_out]) * mine.b
    np.testing.assert_allclose(run(plan.params, drawn(5, 6, seed=1)), x, rtol=1e-4)
    assert "vera:VeRA@1" in describe(plan)


def test_the_matrices_are_those_of_the_seed_whatever_the_key(base):
    one, other = (tuned(base, key=jax.random.key(i)).params["patch"] for i in (1, 2))
    np.testing.assert_array_equal(one["vera"].a, other["vera"].a)
    np.testing.assert_array_equal(one["vera"].b, other["vera"].b)
    third = tuned(base, seed=1).params["patch"]["vera"]
    assert np.abs(third.a - one["vera"].a).max() > 0.1
    assert third.seed == 1
    assert one["vera"].a.std() == pytest.approx((2 / 8) ** 0.5, rel=0.2)


def test_a_checkpoint_of_what_differs_holds_the_matrices(base):
    """The trap: restored under another seed, vectors alone are another function."""
    plan, x = tuned(base), drawn(5, 6, seed=1)
    saved = diff(plan.params, base)
    assert {"patch/vera/a", "patch/vera/b"} <= set(saved)

    def restored(saved):
        other = vera(4, ".*", seed=7)(jax.random.key(9), full(base)).params
        leaves = [saved.get(path, leaf) for path, leaf in flatten(other).items()]
        return jax.tree.unflatten(jax.tree.structure(other), leaves)

    want = run(plan.params, x)
    np.testing.assert_array_equal(run(restored(saved), x), want)
    lost = {p: leaf for p, leaf in saved.items() if not p.startswith("patch/")}
    assert np.abs(run(restored(lost), x) - want).max() > 0.1


def test_only_vectors_move(base):
    plan = tuned(base)
    train, _ = partition(plan.params, trainable(plan.rates))
    assert count(train) == (4 + 8) + (4 + 3)
    assert not [p for p in flatten(train) if p.startswith("patch/")]


def test_given_matrices_take_their_place(base):
    plan = tuned(base)
    a, b = drawn(8, 4, seed=8), drawn(4, 8, seed=9)
    own = with_projections(plan, a, b).params["patch"]["vera"]
    np.testing.assert_array_equal(own.a, a)
    with pytest.raises(ValueError, match=r"vera: b is \[8, 4\], expected \[4, 8\]"):
        with_projections(plan, a, b.T)


def test_without_the_root_it_raises(base):
    site = tuned(base).params["first"]
    with pytest.raises(TypeError, match="nn.expand"):
        nn.dense(site, drawn(5, 6))
