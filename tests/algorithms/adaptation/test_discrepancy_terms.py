"""Terms of discrepancies in a step of adaptation."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from two_domains import STEPS, batch, loss, network, player, started, stream

from tl_jax.algorithms.adaptation import LeakedLabels, adapted, discrepancy
from tl_jax.losses import discrepancy as losses
from tl_jax.models.mlp import mlp

KEY = jax.random.key(3)
METHODS = {
    "mmd": discrepancy.mmd,
    "dan": discrepancy.dan,
    "jan": discrepancy.jan,
    "coral": discrepancy.coral,
    "cmd": discrepancy.cmd,
    "sliced": discrepancy.sliced,
    "deep_jdot": discrepancy.deep_jdot,
}
every = pytest.mark.parametrize("name", METHODS)


def made(name, strength=1.0, model=None):
    """Players, algorithm, state, frozen leaves and a compiled step."""
    players = {"model": player(network() if model is None else model)}
    built = adapted(players, loss, {name: METHODS[name](strength)}, steps=STEPS)
    return players, built, *started(built, players), jax.jit(built.step)


def known(name, source, target, streams):
    """The loss of outputs, called by hand."""
    s, t = source.features, target.features
    weights = [stream["weight"] for stream in streams]
    layers = [s, jax.nn.softmax(source.logits)], [t, jax.nn.softmax(target.logits)]
    labels = streams[0]["labels"]
    return {
        "mmd": partial(losses.mmd, s, t),
        "dan": partial(losses.mk_mmd, s, t),
        "jan": partial(losses.jmmd, *layers),
        "coral": partial(losses.coral, s, t),
        "cmd": partial(losses.cmd, s, t),
        "deep_jdot": partial(losses.joint_transport, s, t, labels, target.logits),
    }[name](*weights)


@pytest.mark.parametrize("name", sorted(METHODS.keys() - {"sliced"}))
def test_terms_are_losses_times_strength(name):
    players, _, state, frozen, step = made(name, 0.3)
    given = batch(padding=2)
    _, metrics = step(state, frozen, given, KEY)
    model, params = players["model"].model, players["model"].plan.params
    streams = given["source"], given["target"]
    outputs = [model.apply(params, {}, s["inputs"])[0] for s in streams]
    wanted = 0.3 * known(name, *outputs, streams)
    np.testing.assert_allclose(metrics[f"term/{name}"], wanted, rtol=1e-4)
    total = metrics["supervised"] + metrics[f"term/{name}"]
    np.testing.assert_allclose(metrics["loss"], total, rtol=1e-6)


def test_lines_are_drawn_anew_in_every_step():
    _, _, state, frozen, step = made("sliced")
    first, second = (
        step(state, frozen, batch(), jax.random.key(seed))[1]["term/sliced"]
        for seed in (0, 1)
    )
    assert first != second
    assert abs(first - second) < 0.5 * first


@every
def test_steps_bring_domains_nearer(name):
    """The body moves, by its own share of the gradient, and the distance shrinks."""
    strength = 100.0 if name == "coral" else 1.0  # of D^2, beside a cross entropy
    _, _, state, frozen, step = made(name, strength)
    _, _, same, _, plain = made(name, 0.0)
    values = []
    for _ in range(STEPS):
        state, metrics = step(state, frozen, batch(), KEY)
        values.append(float(metrics[f"term/{name}"]))
        same, _ = plain(same, frozen, batch(), KEY)
    assert values[-1] < values[0]
    body = [s.train["model"]["blocks"]["0"]["kernel"] for s in (state, same)]
    assert (body[0] != body[1]).any()


@every
def test_rows_without_weight_change_no_step(name):
    _, _, state, frozen, step = made(name)
    given = batch(padding=2)
    other = jax.tree.map(lambda leaf: leaf, given)
    for own in other.values():
        rows = own["inputs"]["features"]
        own["inputs"] = {"features": rows.at[-2:].set(-30.0)}
    after, again = (step(state, frozen, b, KEY)[0] for b in (given, other))
    chex.assert_trees_all_close(after.train, again.train, rtol=1e-4, atol=1e-5)


@every
def test_labels_of_the_target_never_pass(name):
    _, built, state, frozen, _ = made(name)
    given = batch()
    given["target"] = given["target"] | {"labels": jnp.zeros(8, int)}
    with pytest.raises(LeakedLabels, match="target"):
        built.step(state, frozen, given, KEY)


@every
def test_a_run_goes_on_from_a_checkpoint(name, tmp_path):
    """Stopped in the middle, every bit is that of a run that was left alone."""
    _, _, state, frozen, step = made(name)

    def run(state, first, last):
        for i in range(first, last):
            state, _ = step(state, frozen, batch(i), jax.random.fold_in(KEY, i))
        return state

    whole = run(made(name)[2], 0, 4)
    half = run(state, 0, 2)
    arrays = [np.asarray(leaf) for leaf in jax.tree.leaves(half)]
    np.savez(tmp_path / "half.npz", *arrays)
    with np.load(tmp_path / "half.npz") as file:
        found = [jnp.asarray(file[name]) for name in file.files]
    again = jax.tree.unflatten(jax.tree.structure(half), found)
    chex.assert_trees_all_equal(run(again, 2, 4), whole)


@every
def test_negative_strengths(name):
    with pytest.raises(ValueError, match=rf"{name}: strength is -1"):
        METHODS[name](-1)


def test_models_without_a_head_have_no_logits():
    for name in ("jan", "deep_jdot"):
        with pytest.raises(ValueError, match=f"{name}: the model has no logits"):
            _without_head(name)


def _without_head(name):
    def nothing(outputs, stream):
        return jnp.zeros(len(stream["weight"]))

    players = {"model": player(mlp(4, (7, 5), classes=None))}
    built = adapted(players, nothing, {name: METHODS[name]()}, steps=STEPS)
    state, frozen = started(built, players)
    built.step(state, frozen, batch(), KEY)


def test_two_domains_are_needed():
    _, built, state, frozen, _ = made("mmd")
    with pytest.raises(ValueError, match="there is no 'target'"):
        built.step(state, frozen, {"source": stream(0)}, KEY)
