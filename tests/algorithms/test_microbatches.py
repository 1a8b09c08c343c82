"""Microbatches, padding and dropout of supervised steps."""

import jax
import jax.numpy as jnp
import numpy as np
from toy import model, player, squared, stream

from tl_jax import optim
from tl_jax.algorithms import accumulated, plain, supervised
from tl_jax.nn import Fixed
from tl_jax.transfer import freeze, rate
from tl_jax.tree import flatten

KEY = jax.random.key(0)


def one_step(batch, **settings):
    own = player(optim.sgd(0.1))
    made = supervised({"model": own}, squared, **settings)
    state, frozen = made.init(KEY, {"model": own})
    return made.step(state, frozen, {"train": batch}, KEY)


def assert_same(one, two):
    for path, leaf in flatten(one.train).items():
        np.testing.assert_allclose(leaf, flatten(two.train)[path], atol=1e-5)


def test_microbatches_weigh_as_the_task_does():
    def weigh(stream):
        return stream["weight"] * jnp.where(stream["labels"][:, 0] > 0, 4.0, 1.0)

    whole, _ = one_step(stream(), weigh=weigh)
    split, _ = one_step(stream(), weigh=weigh, accumulate=4)
    assert_same(whole, split)


def test_memory_that_nobody_wrote_keeps_its_bits():
    """Thirds of a value don't add up to it."""
    own = player(optim.sgd(0.1), freeze(".*"), rate("head/.*", 1.0))
    made = supervised({"model": own}, squared, accumulate=3, average=0.0)
    state, frozen = made.init(KEY, {"model": own})
    fixed = Fixed(jnp.asarray([0.1, 0.7, 0.3]), jnp.asarray([1 / 3, 0.9, 0.123]))
    memory = state.memory | {"stats": {"model": {"norm": fixed}}}
    state = state._replace(memory=memory)
    state, _ = jax.jit(made.step)(state, frozen, {"train": stream(9)}, KEY)
    kept = state.memory["stats"]["model"]["norm"]
    np.testing.assert_array_equal(kept.mean, fixed.mean)
    np.testing.assert_array_equal(kept.var, fixed.var)


def test_clipping_sees_the_whole_batch():
    whole, said = one_step(stream(), clip=0.5)
    split, told = one_step(stream(), clip=0.5, accumulate=4)
    assert_same(whole, split)
    np.testing.assert_allclose(said["gradient_norm"], told["gradient_norm"], rtol=1e-5)


def test_counters_take_the_new_value_and_floats_the_weighted_mean():
    def f(train, batch, key):
        x = batch["x"]
        return (train * x).mean(), ({"seen": jnp.int32(7)}, {"mean": x.mean()})

    rule = accumulated(2, lambda batch: batch["w"].sum(), plain)
    batch = {"x": jnp.asarray([1.0, 3, 1, 3]), "w": jnp.asarray([1.0, 3, 0, 0])}
    (value, (memory, metrics)), gradient = rule(f, jnp.float32(2), batch, KEY)
    assert int(memory["seen"]) == 7
    np.testing.assert_allclose([value, gradient, metrics["mean"]], [5.0, 2.5, 2.5])


def test_padding_changes_nothing():
    batch = stream(padding=3)
    short = jax.tree.map(lambda leaf: leaf[:5], batch)
    assert_same(one_step(batch)[0], one_step(short)[0])


def test_a_batch_of_padding_alone_moves_nothing():
    batch = stream()
    batch["weight"] = jnp.zeros(8)
    state, metrics = one_step(batch)
    start = flatten(player(optim.sgd(0.1)).plan.params)
    for path, leaf in flatten(state.train["model"]).items():
        np.testing.assert_array_equal(leaf, start[path])
    assert float(metrics["loss"]) == 0


def test_dropout_draws_anew_in_each_microbatch():
    own = player(optim.sgd(0.1), of=model(dropout=0.5))
    made = supervised({"model": own}, squared, accumulate=2)
    state, frozen = made.init(KEY, {"model": own})
    half = stream(rows=4)
    twice = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf]), half)
    one = supervised({"model": own}, squared)
    both, _ = made.step(state, frozen, {"train": twice}, KEY)
    single, _ = one.step(state, frozen, {"train": half}, KEY)
    assert not np.allclose(
        both.train["model"]["head"]["kernel"], single.train["model"]["head"]["kernel"]
    )


def test_predict_uses_the_average_and_no_dropout():
    own = player(optim.sgd(0.1), freeze("body/.*"), of=model(dropout=0.5))
    made = supervised({"model": own}, squared, average=0.75)
    start, frozen = made.init(KEY, {"model": own})
    state, _ = made.step(start, frozen, {"train": stream()}, KEY)
    query = {"query": stream(seed=5)}
    kernel = 0.75 * np.asarray(start.train["model"]["head"]["kernel"])
    kernel = kernel + 0.25 * np.asarray(state.train["model"]["head"]["kernel"])
    body = own.plan.params["body"]
    wanted = (query["query"]["inputs"]["x"] @ body["kernel"] + body["bias"]) @ kernel
    found = made.predict(state, frozen, query).logits
    np.testing.assert_allclose(found, wanted, atol=1e-5)
