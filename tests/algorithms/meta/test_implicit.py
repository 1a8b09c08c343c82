"""iMAML: derivatives of a solution, whatever steps led to it."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from few import network, player, squared, task, waves

from tl_jax.algorithms.meta import (
    Implicit,
    Inner,
    adapt,
    episodic,
    inner_rates,
    maml,
)
from tl_jax.transfer import chain, freeze, rate
from tl_jax.tree import flatten

HEAD = chain(freeze(".*"), rate("head/.*", 1.0))


def quadratic(seed=0, size=4):
    """L(phi) = phi A phi / 2 - phi b(rest) of two leaves, and its A [8 8], B [8 3]."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(2 * size, 2 * size))
    a, b = root @ root.T / size, rng.normal(size=(2 * size, 3))

    def value(params, i, key):
        phi = jnp.concatenate([params["one"], params["two"]])
        return phi @ a @ phi / 2 - phi @ b @ jnp.square(params["rest"])

    x = rng.normal(size=2 * size)
    params = {"one": x[:size], "two": x[size:], "rest": rng.normal(size=3)}
    rates = {"one": 1.0, "two": 1.0, "rest": 0.0}
    return value, jax.tree.map(jnp.asarray, params), rates, a, b


def cost(params):
    return (jnp.sin(params["one"]) * params["two"]).sum() + params["rest"].sum()


def meta_gradient(mode, steps=600, tx=None, strength=0.5):
    """By theta, through the solution of the pulled quadratic."""
    value, params, rates, *_ = quadratic()

    def outer(params):
        def unrolled(own, i, key):
            away = sum(jnp.square(own[n] - params[n]).sum() for n in ("one", "two"))
            return value(own, i, key) + strength / 2 * away

        f = unrolled if mode == "unrolled" else value
        inner = Inner(rates, tx or optax.sgd(0.1), steps, mode)
        return cost(adapt(f, {"m": params}, "m", inner)[0])

    return jax.jit(jax.grad(outer))(params)


def test_a_quadratic_has_the_exact_unrolled_gradient():
    """In float64: that of 600 steps by reverse mode, and the closed form."""
    with jax.enable_x64(True):
        how = Implicit(0.5, cg_steps=8, tolerance=0.0)
        found = meta_gradient(how)
        chex.assert_trees_all_close(found, meta_gradient("unrolled"), rtol=1e-9)
        _, params, _, a, b = quadratic()
        theta = np.concatenate([params["one"], params["two"]])
        rest = np.asarray(params["rest"])
        matrix = a + 0.5 * np.eye(8)
        phi = np.linalg.solve(matrix, b @ rest**2 + 0.5 * theta)
        v = np.concatenate([np.cos(phi[:4]) * phi[4:], np.sin(phi[:4])])
        w = np.linalg.solve(matrix, v)
        by_hand = np.concatenate([found["one"], found["two"]])
        np.testing.assert_allclose(by_hand, 0.5 * w, rtol=1e-9)
        np.testing.assert_allclose(found["rest"], 1 + 2 * rest * (b.T @ w), rtol=1e-9)


def test_damping_is_added_where_the_hessian_is_inverted():
    with jax.enable_x64(True):
        found = meta_gradient(Implicit(0.5, 8, damping=2.0, tolerance=0.0))
        _, params, _, a, b = quadratic()
        theta, rest = np.concatenate([params["one"], params["two"]]), params["rest"]
        phi = np.linalg.solve(a + 0.5 * np.eye(8), b @ rest**2 + 0.5 * theta)
        v = np.concatenate([np.cos(phi[:4]) * phi[4:], np.sin(phi[:4])])
        w = 0.5 * np.linalg.solve(a + 2.5 * np.eye(8), v)
        by_hand = np.concatenate([found["one"], found["two"]])
        np.testing.assert_allclose(by_hand, w, rtol=1e-9)


def test_the_path_to_the_solution_does_not_matter():
    """Momentum ends at the same place: the same gradient, by other steps."""
    with jax.enable_x64(True):
        how = Implicit(0.5, 8, tolerance=0.0)
        other = meta_gradient(how, 800, optax.sgd(0.05, momentum=0.9))
        chex.assert_trees_all_close(meta_gradient(how), other, rtol=1e-8)


def made(mode, steps=60, plan=None, rate=0.05):
    one = player(network(), optax.sgd(1.0))
    inner = Inner(inner_rates(one.plan, plan), optax.sgd(rate), steps, mode)
    built = episodic({"model": one}, maml(network(), squared, inner), squared)
    return built, *built.init(jax.random.key(0), {"model": one}), waves()


@pytest.mark.parametrize("plan", [None, HEAD], ids=["all", "head"])
def test_a_network_gets_the_gradient_of_finite_differences(plan):
    """Every leaf, also those that no task moves. Solved to convergence, float64."""
    with jax.enable_x64(True):
        mode = Implicit(8.0, cg_steps=80, tolerance=1e-12)
        built, state, frozen, batch = made(mode, 150, plan)
        step, key = jax.jit(built.step), jax.random.key(1)
        after, _ = step(state, frozen, batch, key)
        start = state.train["model"]
        found = flatten(jax.tree.map(lambda a, b: a - b, start, after.train["model"]))
        rng = np.random.default_rng(0)

        def at(path, change):
            moved = [x + change if p == path else x for p, x in flatten(start).items()]
            tree = jax.tree.unflatten(jax.tree.structure(start), moved)
            changed = state._replace(train={"model": tree})
            return step(changed, frozen, batch, key)[1]["loss"]

        for path, gradient in found.items():
            along = rng.normal(size=gradient.shape)
            wanted = (at(path, 1e-5 * along) - at(path, -1e-5 * along)) / 2e-5
            np.testing.assert_allclose((gradient * along).sum(), wanted, rtol=2e-5)
            assert np.abs(gradient).max() > 0


def test_tasks_are_independent_and_jit_changes_nothing():
    built, state, frozen, batch = made(Implicit(4.0), 5)
    whole = jax.jit(built.predict)(state, frozen, batch).logits
    alone = jax.tree.map(lambda x: x[1:2], batch)
    one = built.predict(state, frozen, alone).logits
    np.testing.assert_allclose(whole[1:2], one, rtol=1e-5, atol=1e-6)
    step, key = jax.jit(built.step), jax.random.key(1)
    singles = [jax.tree.map(lambda x, k=k: x[k : k + 1], batch) for k in range(3)]
    every, *each = (
        step(state, frozen, part, key)[0].train["model"] for part in (batch, *singles)
    )
    mean = jax.tree.map(lambda *x: sum(x) / 3, *each)
    chex.assert_trees_all_close(every, mean, rtol=1e-4, atol=1e-4)


def test_memory_does_not_grow_with_the_steps():
    def temporaries(mode, steps):
        built, *rest = made(mode, steps)
        compiled = jax.jit(built.step).lower(*rest, jax.random.key(1)).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    few, many = (temporaries(Implicit(4.0), steps) for steps in (10, 1000))
    assert many <= few + 1024
    assert temporaries("unrolled", 1000) > 10 * many


def test_a_task_is_pulled_to_its_start():
    """The stronger, the nearer it stays."""
    one, support = player(network(), optax.sgd(1.0)), task(waves()["support"], 0)

    def value(params, i, key):
        outputs, _ = network().apply(params, {}, support["inputs"])
        return squared(outputs, support).mean()

    away = []
    for strength in (0.1, 10.0):
        inner = Inner(one.plan.rates, optax.sgd(0.02), 50, Implicit(strength))
        end, _ = adapt(value, {"model": one.plan.params}, "model", inner)
        gone = jax.tree.map(lambda a, b: a - b, end, one.plan.params)
        away.append(float(optax.tree.norm(gone)))
    assert 0 < away[1] < away[0] / 2


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (Implicit(0.0), "strength is 0.0, expected above 0"),
        (Implicit(1.0, cg_steps=0), "cg_steps is 0, expected 1 or more"),
        (Implicit(1.0, damping=-1.0), "damping is -1.0, expected 0 or more"),
    ],
)
def test_bad_settings_are_named(mode, said):
    built, *rest = made(mode)
    with pytest.raises(ValueError, match=said):
        built.predict(*rest)
