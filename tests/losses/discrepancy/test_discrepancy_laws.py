"""What every discrepancy keeps to."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from two_sets import WEIGHTS, drawn, ones, padded

from tl_jax.losses import discrepancy as d

KEY = jax.random.key(0)


def joint(source, target, *weights, **how):
    """`jmmd` of rows and their softmax."""
    layers = ([x, jax.nn.softmax(x)] for x in (source, target))
    return d.jmmd(*layers, *weights, **how)


def jdot(source, target, *weights):
    """`joint_transport` of labels by the first feature, logits by all."""
    labels = (source[:, 0] > 0).astype(int)
    return d.joint_transport(source, target, labels, target, *weights)


LOSSES = {
    "mmd": d.mmd,
    "biased": partial(d.mmd, unbiased=False),
    "mk_mmd": d.mk_mmd,
    "linear": partial(d.mk_mmd, linear=True),
    "jmmd": joint,
    "jmmd linear": partial(joint, linear=True),
    "coral": d.coral,
    "coral means": partial(d.coral, means=True),
    "cmd": d.cmd,
    "sliced": partial(d.sliced_wasserstein, KEY),
    "transport": d.transport_cost,
    "joint transport": jdot,
}
every = pytest.mark.parametrize("name", LOSSES)


@every
def test_padding_changes_nothing(name):
    """Neither the value nor a slope; and it has none itself."""
    loss = LOSSES[name]
    source, target = drawn((5, 5))
    both = jax.value_and_grad(loss, (0, 1))
    value, slopes = both(source, target)
    given = padded(source), padded(target), ones(5), ones(5)
    found, others = both(*given)
    np.testing.assert_allclose(found, value, rtol=2e-5)
    for other, slope in zip(others, slopes, strict=True):
        np.testing.assert_allclose(other[:5], slope, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(other[5:], 0)


@every
def test_compiled_and_batched_it_is_the_same(name):
    loss = LOSSES[name]
    sets = [drawn((5, 5), seed=seed) for seed in range(3)]
    eager = [loss(*pair) for pair in sets]
    stacked = [jnp.stack(side) for side in zip(*sets, strict=True)]
    np.testing.assert_allclose([jax.jit(loss)(*p) for p in sets], eager, rtol=1e-5)
    np.testing.assert_allclose(jax.vmap(loss)(*stacked), eager, rtol=1e-5)


@every
def test_a_step_down_brings_sets_nearer(name):
    loss = LOSSES[name]
    source, target = drawn((5, 5))
    value, slope = jax.value_and_grad(loss, 1)(source, target)
    assert value.shape == ()
    assert loss(source, target - 1e-3 * slope / jnp.linalg.norm(slope)) < value


@every
def test_half_precision_is_summed_in_float32(name):
    source, target = (jnp.asarray(x, jnp.bfloat16) for x in drawn((5, 5)))
    value = LOSSES[name](source, target)
    assert value.dtype == jnp.float32
    wide = LOSSES[name](source.astype("f"), target.astype("f"))
    np.testing.assert_allclose(value, wide, rtol=1e-2)


@pytest.mark.parametrize("name", ["biased", "cmd", "sliced", "transport"])
def test_weights_of_two_are_rows_given_twice(name):
    """Of forms that are means over distributions, not over pairs of other rows."""
    loss = LOSSES[name]
    if name == "biased":
        loss = partial(loss, kernel=d.Gaussians((1.0, 2.0), 3.0))
    source, target = drawn((6, 5))
    twice = np.concatenate([source, source[:2]])
    weight = np.array([2, 2, 1, 1, 1, 1], "f")
    wanted = loss(twice, target, np.ones(8, "f"), np.ones(5, "f"))
    found = loss(source, target, weight, np.ones(5, "f"))
    np.testing.assert_allclose(found, wanted, rtol=2e-3)


@every
def test_weights_that_do_not_fit(name):
    source, target = drawn((5, 5))
    with pytest.raises(AssertionError, match="shape"):
        LOSSES[name](source, target, WEIGHTS[0])
