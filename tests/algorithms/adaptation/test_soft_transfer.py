"""Source and target of different columns in one space."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tl_jax.algorithms.adaptation import LeakedLabels, adapted
from tl_jax.algorithms.adaptation.soft_transfer import soft_transfer
from tl_jax.losses import cross_entropy
from tl_jax.losses.soft_means import soft_means
from tl_jax.models import mlp, shared_space
from tl_jax.transfer import freeze, full
from tl_jax.tree import flatten
from tl_jax.types import Player

CLASSES, SHARED = 3, 5
KEY = jax.random.key(2)


def network(**how):
    encoders = {
        "features": mlp(4, (6, SHARED), **how),
        "other": mlp(7, (6, SHARED), field="other", **how),
    }
    return shared_space(encoders, classes=CLASSES)


def stream(column, width, seed, rows, labels=True, padding=0):
    """Rows around a centre of their class, in a space of the column's own."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, CLASSES, rows)
    centres = 2 * np.random.default_rng(len(column)).normal(size=(CLASSES, width))
    x = (centres[kinds] + rng.normal(size=(rows, width))).astype(np.float32)
    weight = np.ones(rows, np.float32)
    if padding:
        x[-padding:], weight[-padding:] = 1e3, 0
    made = {"inputs": {column: jnp.asarray(x)}, "weight": jnp.asarray(weight)}
    made["index"] = jnp.arange(rows)
    return made | ({"labels": jnp.asarray(kinds)} if labels else {})


def batch(seed=0, padding=0):
    return {
        "source": stream("features", 4, seed, 12, padding=padding),
        "target": stream("other", 7, seed + 1, 10, labels=False, padding=padding),
        "target_labelled": stream("other", 7, seed + 2, 4),
    }


def loss(outputs, given):
    return cross_entropy(outputs.logits, given["labels"])


def player(tx=None, change=None):
    plan = full(*network().init(KEY))
    plan = plan if change is None else change(KEY, plan)
    return {"model": Player(network(), plan, tx or optax.sgd(0.1))}


def built(players, strength=0.1, steps=4):
    terms = {"soft": soft_transfer(strength)}
    how = dict(steps=steps, labelled=True, joint=False)
    made = adapted(players, loss, terms, **how)
    return jax.jit(made.step), made, *made.init(KEY, players)


def by_loop(source, p, target, q, ws, wt, trust):
    """Class by class and row by row, in float64."""
    s, t, p, q = (np.asarray(x, np.float64) for x in (source, target, p, q))

    def mean(rows, weights):
        total, count = np.zeros(rows.shape[1]), 0.0
        for row, weight in zip(rows, weights, strict=True):
            total, count = total + weight * row, count + weight
        return total / count if count else None

    found = ((mean(s, ws) - mean(t, wt)) ** 2).sum()
    for c in range(p.shape[1]):
        one, other = mean(s, ws * p[:, c]), mean(t, wt * trust * q[:, c])
        if one is not None and other is not None:
            found += ((one - other) ** 2).sum()
    return found


def drawn(seed=0):
    rng = np.random.default_rng(seed)
    s, t = rng.normal(size=(6, 5)), rng.normal(1, 1, (8, 5))
    p, q = np.eye(3)[[0, 0, 1, 1, 0, 1]], rng.dirichlet(np.ones(3), 8)  # 2 is absent
    ws, wt = np.array([1, 1, 0, 1, 0.5, 1]), np.ones(8)
    wt[-1] = 0
    trust = np.array([1, 1, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3])
    return [x.astype(np.float32) for x in (s, p, t, q, ws, wt, trust)]


def test_soft_means_are_the_loop():
    given = drawn()
    np.testing.assert_allclose(soft_means(*given), by_loop(*given), rtol=1e-5)
    np.testing.assert_allclose(jax.jit(soft_means)(*given), by_loop(*given), rtol=1e-5)
    both = [jnp.stack([a, b]) for a, b in zip(given, drawn(1), strict=True)]
    wanted = [by_loop(*given), by_loop(*drawn(1))]
    np.testing.assert_allclose(jax.vmap(soft_means)(*both), wanted, rtol=1e-5)


def test_equal_sets_are_no_way_apart_and_padding_counts_for_nothing():
    s, p, _, _, ws, _, _ = drawn()
    same = soft_means(s, p, s, p, ws, ws, np.ones(6, np.float32))
    np.testing.assert_allclose(same, 0, atol=1e-10)
    given = drawn()
    given[0][2], given[2][7] = 1e4, -1e4
    np.testing.assert_allclose(soft_means(*given), soft_means(*drawn()), rtol=1e-5)
    grads = jax.grad(soft_means, argnums=(0, 2))(*map(jnp.asarray, drawn()))
    assert all(np.isfinite(g).all() for g in grads)
    assert not grads[0][2].any()
    assert not grads[1][7].any()


def test_each_row_meets_the_encoder_of_its_column():
    model = network(batch_norms=True)
    params, stats = model.init(KEY)
    given = batch()["target"]["inputs"]
    outputs, moved = model.apply(params, stats, given, norm="batch")
    own = mlp(7, (6, SHARED), field="other", batch_norms=True)
    prefix = "encoders/other/"
    alone = {
        k.removeprefix(prefix): v for k, v in stats.items() if k.startswith(prefix)
    }
    wanted, after = own.apply(params["encoders"]["other"], alone, given, norm="batch")
    np.testing.assert_allclose(outputs.features, wanted.features)
    head = params["head"]
    np.testing.assert_allclose(
        outputs.logits, wanted.features @ head["kernel"] + head["bias"], rtol=1e-5
    )
    chex.assert_trees_all_equal(
        moved, stats | {prefix + k: v for k, v in after.items()}
    )


def test_a_step_is_the_losses_by_hand():
    players = player()
    step, _, state, frozen = built(players, 0.5)
    for done in range(2):
        given = batch(done, padding=2)
        apply, params = network().apply, state.train["model"]
        seen = {n: apply(params, {}, s["inputs"])[0] for n, s in given.items()}
        each, weight = [], []
        for name in ("source", "target_labelled"):
            each.append(loss(seen[name], given[name]))
            weight.append(given[name]["weight"])
        each, weight = jnp.concatenate(each), jnp.concatenate(weight)
        soft = jax.nn.softmax(seen["target"].logits)
        known = given["target_labelled"]
        joined = by_loop(
            seen["source"].features,
            jax.nn.one_hot(given["source"]["labels"], CLASSES),
            jnp.concatenate(
                [seen["target"].features, seen["target_labelled"].features]
            ),
            jnp.concatenate([soft, jax.nn.one_hot(known["labels"], CLASSES)]),
            np.asarray(given["source"]["weight"]),
            np.concatenate([given["target"]["weight"], known["weight"]]),
            np.array([done / 4] * 10 + [1.0] * 4),
        )
        state, metrics = step(state, frozen, given, KEY)
        supervised = (each * weight).sum() / weight.sum()
        np.testing.assert_allclose(metrics["supervised"], supervised, rtol=1e-5)
        np.testing.assert_allclose(metrics["term/soft"], 0.5 * joined, rtol=1e-4)


def test_plans_name_the_encoders():
    players = player(change=freeze("encoders/features/.*"))
    step, _, state, frozen = built(players)
    after, _ = step(state, frozen, batch(), KEY)
    assert set(flatten(after.train["model"])) == {
        *(f"encoders/other/blocks/{i}/{k}" for i in "01" for k in ("kernel", "bias")),
        *("head/kernel", "head/bias"),
    }


def test_the_target_learns_from_the_source():
    """Few labels of the target, and its rows come out right beside the source's."""
    step, made, state, frozen = built(player(optax.adam(2e-2)), 0.05, steps=80)
    for i in range(80):
        state, _ = step(state, frozen, batch(3 * i), jax.random.fold_in(KEY, i))
    query = stream("other", 7, 999, 60)
    outputs = made.predict(state, frozen, {"query": query})
    assert (outputs.logits.argmax(-1) == query["labels"]).mean() > 0.8


def test_resumed_it_goes_on_to_the_bit():
    step, _, state, frozen = built(player(optax.adam(1e-2)))
    half, whole = None, state
    for i in range(4):
        whole, _ = step(whole, frozen, batch(i), KEY)
        half = whole if i == 1 else half
    leaves, shape = jax.tree.flatten(half)
    again = jax.tree.unflatten(shape, [jnp.asarray(np.asarray(x)) for x in leaves])
    for i in (2, 3):
        again, _ = step(again, frozen, batch(i), KEY)
    chex.assert_trees_all_equal(again, whole)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="expected one width"):
        shared_space({"features": mlp(4, (5,)), "other": mlp(7, (6,), field="other")})
    model = network()
    params, stats = model.init(KEY)
    both = {"features": jnp.ones((2, 4)), "other": jnp.ones((2, 7))}
    for inputs in (both, {"image": jnp.ones((2, 4))}):
        with pytest.raises(ValueError, match="exactly one of"):
            model.apply(params, stats, inputs)
    with pytest.raises(ValueError, match="strength=-1"):
        soft_transfer(-1)
    _, made, state, frozen = built(player())
    given = batch() | {"target": stream("other", 7, 1, 4)}
    with pytest.raises(LeakedLabels):
        made.step(state, frozen, given, KEY)
