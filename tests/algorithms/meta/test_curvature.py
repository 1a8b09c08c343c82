"""Meta-Curvature and warp layers: learned geometry, plain at the start."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from few import network, player, squared, task, waves

from tl_jax.algorithms.meta import (
    Inner,
    episodic,
    identity_curvature,
    inner_rates,
    joined,
    maml,
    meta_curvature,
)
from tl_jax.algorithms.meta.curvature import modes, turned
from tl_jax.transfer import chain, freeze, rate, warp
from tl_jax.tree import NoMatch, flatten

HEAD = chain(freeze(".*"), rate("head/.*", 1.0))
TURNED = joined(meta_curvature(), optax.sgd(0.05))


def made(tx=TURNED, plan=None, transfers=(), curved=True):
    one = player(network(), optax.sgd(1.0), *transfers)
    rates = inner_rates(one.plan, plan)
    players = {"model": one}
    if curved:
        players["curvature"] = identity_curvature(one.plan, rates, optax.sgd(1.0))
    learner = maml(network(), squared, Inner(rates, tx, 2))
    built = episodic(players, learner, squared)
    return built, *built.init(jax.random.key(0), players), waves()


def gradients(built, state, frozen, batch):
    after, _ = jax.jit(built.step)(state, frozen, batch, jax.random.key(1))
    return jax.tree.map(lambda a, b: a - b, state.train, after.train)


def test_each_mode_is_a_product():
    """Of a convolution's kernel: places, inputs, outputs, by loops over NumPy."""
    rng = np.random.default_rng(0)
    g = rng.normal(size=(2, 2, 3, 4))
    assert (modes(g.shape), modes((3, 4)), modes((4,)), modes(())) == (
        (4, 3, 4),
        (3, 4),
        (4,),
        (1,),
    )
    m = {str(i): rng.normal(size=(n, n)) for i, n in enumerate(modes(g.shape))}
    wanted = np.zeros((4, 3, 4))
    for a in range(4):
        for i in range(3):
            for o in range(4):
                along = np.einsum("x,y,z->xyz", m["0"][a], m["1"][i], m["2"][o])
                wanted[a, i, o] = (along * g.reshape(4, 3, 4)).sum()
    with jax.enable_x64(True):
        found = turned(jnp.asarray(g), m)
    np.testing.assert_allclose(found, wanted.reshape(g.shape), rtol=1e-9)


def test_identities_are_maml():
    found = gradients(*made())
    wanted = gradients(*made(optax.sgd(0.05), curved=False))
    chex.assert_trees_all_close(found["model"], wanted["model"], rtol=1e-4, atol=1e-5)
    assert {len(x.shape) for x in jax.tree.leaves(found["curvature"])} == {2}
    assert all(np.abs(x).max() > 0 for x in jax.tree.leaves(found["curvature"]))


def test_matrices_get_the_gradient_of_plain_loops():
    """From matrices that are no identities, of the head alone."""
    built, state, frozen, batch = made(plan=HEAD)
    rng = np.random.default_rng(0)
    moved = jax.tree.map(
        lambda x: x + 0.3 * rng.normal(size=x.shape).astype("f"), state.train
    )
    state = state._replace(train=moved | {"model": state.train["model"]})

    def cost(params, stream):
        outputs, _ = network().apply(params, {}, stream["inputs"])
        return squared(outputs, stream).mean()

    def total(train):
        value, m = 0.0, train["curvature"]["head"]
        for k in range(3):
            own = train["model"]
            for _ in range(2):
                slope = jax.grad(cost)(own, task(batch["support"], k))["head"]
                left, right = m["kernel"]["0"], m["kernel"]["1"]
                kernel = own["head"]["kernel"] - 0.05 * left @ slope["kernel"] @ right.T
                bias = own["head"]["bias"] - 0.05 * m["bias"]["0"] @ slope["bias"]
                own = own | {"head": {"kernel": kernel, "bias": bias}}
            value += cost(own, task(batch["query"], k)) / 3
        return value

    found, wanted = gradients(built, state, frozen, batch), jax.grad(total)(state.train)
    chex.assert_trees_all_close(found, wanted, rtol=2e-4, atol=2e-5)


def test_a_missing_player_and_other_leaves_are_named():
    with pytest.raises(NoMatch, match="player 'curvature' matches nothing"):
        gradients(*made(curved=False))
    one = player(network(), optax.sgd(1.0))
    head = identity_curvature(one.plan, inner_rates(one.plan, HEAD), optax.sgd(1.0))
    players = {"model": one, "curvature": head}
    built = episodic(
        players, maml(network(), squared, Inner(one.plan.rates, TURNED)), squared
    )
    with pytest.raises(ValueError, match="it lacks blocks/0/bias"):
        built.predict(*built.init(jax.random.key(0), players), waves())


def test_warps_move_outside_alone():
    """At the identity a task's path is MAML's, and the matrices get a gradient."""
    still = freeze(".*/patch/warp/.*")
    warped = made(optax.sgd(0.05), still, [warp(r"blocks/\d+")], curved=False)
    plain = made(optax.sgd(0.05), curved=False)
    found, wanted = gradients(*warped)["model"], gradients(*plain)["model"]
    of_warps = {p: x for p, x in flatten(found).items() if "/patch/" in p}
    assert len(of_warps) == 2
    assert all(np.abs(x).max() > 0 for x in of_warps.values())
    for path, leaf in flatten(wanted).items():
        np.testing.assert_allclose(flatten(found)[path], leaf, rtol=1e-4, atol=1e-5)
