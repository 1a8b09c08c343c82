"""MCD's phases, ADDA's two descents and WDGRL's critic against steps by hand."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from two_domains import CLASSES, batch, critic, loss, network, player, started

from tl_jax.algorithms.adaptation import ANCHOR, adda, mcd, wdgrl
from tl_jax.losses import adversarial as a
from tl_jax.tree import NoMatch

KEY = jax.random.key(2)
RATE = 0.1


def trained(model, seed=0, momentum=0.0):
    return player(model, optax.sgd(RATE, momentum=momentum or None), seed)


def features(params, given, name):
    return network().apply(params, {}, given[name]["inputs"])[0].features


def logits(params, given, name):
    return network().apply(params, {}, given[name]["inputs"])[0].logits


def head(params, rows, classes=CLASSES):
    return critic(classes=classes).apply(params, {}, {"features": rows})[0].logits


def down(params, grads, momentum, chosen=None):
    """A step of momentum of the leaves of `chosen` sites; all without any."""
    new, kept = dict(params), dict(momentum)
    for site in chosen or params:
        kept[site] = jax.tree.map(lambda m, g: 0.9 * m + g, momentum[site], grads[site])
        new[site] = jax.tree.map(lambda p, m: p - RATE * m, params[site], kept[site])
    return new, kept


def mcd_losses(given):
    """(both heads' loss of the source, their discrepancy on the target)."""

    def taught(model, second):
        total = jnp.float32(0)
        for found in (
            lambda n: logits(model, given, n),
            lambda n: head(second, features(model, given, n)),
        ):
            labels = given["source"]["labels"]
            logp = jax.nn.log_softmax(found("source"))
            total -= logp[jnp.arange(len(labels)), labels].mean()
            shares = jax.nn.softmax(found("target")).mean(0)
            total += 0.01 * -jnp.log(shares + 1e-6).mean()
        return total

    def far(model, second):
        one = jax.nn.softmax(logits(model, given, "target"))
        two = jax.nn.softmax(head(second, features(model, given, "target")))
        return jnp.abs(one - two).mean()

    return taught, far


def test_mcds_step_is_its_three_phases():
    """Momenta of body, head and second head by hand, over three steps."""
    players = {
        "model": trained(network(), momentum=0.9),
        "second": trained(critic(classes=CLASSES), 1, momentum=0.9),
    }
    built = mcd(players, loss, strength=0.7, generator_steps=2)
    state, frozen = started(built, players)
    step = jax.jit(built.step)
    model, second = (players[n].plan.params for n in ("model", "second"))
    v_model, v_second = (jax.tree.map(jnp.zeros_like, p) for p in (model, second))
    for i in range(3):
        given = batch(seed=10 * i)
        state, metrics = step(state, frozen, given, KEY)
        taught, far = mcd_losses(given)
        one, two = jax.grad(taught, (0, 1))(model, second)
        model, v_model = down(model, one, v_model)
        second, v_second = down(second, two, v_second)
        one, two = jax.grad(
            lambda m, s, f=far, t=taught: t(m, s) - 0.7 * f(m, s), (0, 1)
        )(model, second)
        model, v_model = down(model, one, v_model, ["head"])
        second, v_second = down(second, two, v_second)
        for _ in range(2):
            last, one = jax.value_and_grad(far)(model, second)
            one = jax.tree.map(lambda g: 0.7 * g, one)
            model, v_model = down(model, one, v_model, ["blocks"])
    chex.assert_trees_all_close(state.train["model"], model, rtol=1e-3, atol=1e-5)
    chex.assert_trees_all_close(state.train["second"], second, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(metrics["agree"], last, rtol=1e-3)


def test_mcd_without_such_a_head_raises():
    players = {
        "model": trained(network()),
        "second": trained(critic(classes=CLASSES)),
    }
    built = mcd(players, loss, head="heads/.*")
    with pytest.raises(NoMatch, match="heads"):
        started(built, players)


def test_addas_step_is_two_descents_against_what_was():
    players = {"model": trained(network()), "critic": trained(critic(), 1)}
    built = adda(players, loss)
    state, frozen = started(built, players)
    step = jax.jit(built.step)
    first, judge = (players[n].plan.params for n in ("model", "critic"))
    model = first
    for i in range(3):
        given = batch(seed=10 * i)
        state, metrics = step(state, frozen, given, KEY)

        def told(c, m, given=given):
            return a.domain_loss(
                head(c, features(first, given, "source"), 1),
                head(c, features(m, given, "target"), 1),
            )

        def turned_over(m, c, given=given):
            """The target's rows with the source's label."""
            return -jax.nn.log_sigmoid(head(c, features(m, given, "target"), 1)).mean()

        grads = jax.grad(told)(judge, model)
        judge = jax.tree.map(lambda p, g: p - RATE * g, judge, grads)
        grads = jax.grad(turned_over)(model, judge)
        model = jax.tree.map(lambda p, g: p - RATE * g, model, grads)
    chex.assert_trees_all_close(state.train["critic"], judge, rtol=1e-4, atol=1e-6)
    chex.assert_trees_all_close(state.train["model"], model, rtol=1e-4, atol=1e-6)
    chex.assert_trees_all_equal(state.memory[ANCHOR]["params"], first)
    wanted = loss(
        network().apply(first, {}, given["source"]["inputs"])[0], given["source"]
    )
    np.testing.assert_allclose(metrics["supervised"], wanted.mean(), rtol=1e-5)


def test_wdgrls_critic_climbs_with_a_bounded_slope_and_features_follow():
    """Without points between, whose draws are the method's own, in one batch."""
    players = {"model": trained(network()), "critic": trained(critic(), 1)}
    built = wdgrl(players, loss, strength=0.5, penalty=0.0, critic_steps=2)
    state, frozen = started(built, players)
    given = batch()
    state, metrics = jax.jit(built.step)(state, frozen, given, KEY)
    model, judge = (players[n].plan.params for n in ("model", "critic"))

    def far(c, m):
        ours, theirs = (
            head(c, features(m, given, n), 1).mean() for n in ("source", "target")
        )
        return ours - theirs

    for _ in range(2):
        grads = jax.grad(far)(judge, model)
        judge = jax.tree.map(lambda p, g: p + RATE * g, judge, grads)

    def total(m):
        outputs = network().apply(m, {}, given["source"]["inputs"])[0]
        return loss(outputs, given["source"]).mean() + 0.5 * far(judge, m)

    model = jax.tree.map(lambda p, g: p - RATE * g, model, jax.grad(total)(model))
    chex.assert_trees_all_close(state.train["critic"], judge, rtol=1e-4, atol=1e-6)
    chex.assert_trees_all_close(state.train["model"], model, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        metrics["distance"], far(judge, players["model"].plan.params), rtol=1e-4
    )


def test_wdgrls_penalty_holds_the_critics_slope_near_one():
    players = {
        "model": player(network(), optax.sgd(0.0)),
        "critic": player(critic(), optax.adam(0.01), 1),
    }
    built = wdgrl(players, loss, penalty=10.0, critic_steps=300)
    state, frozen = started(built, players)
    state, metrics = jax.jit(built.step)(state, frozen, batch(), KEY)
    assert metrics["critic/penalty"] < 0.1
    assert metrics["critic/distance"] > 0.3
