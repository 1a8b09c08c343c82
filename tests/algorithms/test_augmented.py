"""Augmentation inside a step: its key, its stream, and evaluation left alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from toy import player, squared, stream

from tl_jax.algorithms import (
    algorithm,
    augmented,
    augmented_steps,
    descend,
    per_task,
    supervised,
)
from tl_jax.data.augment import colour_jitter, compose, horizontal_flip, mixup
from tl_jax.losses import cross_entropy
from tl_jax.tree import NoMatch, stable_key
from tl_jax.types import Algorithm, Model, Outputs

KEY = jax.random.key(7)


def noisy(key, rows):
    """Noise on `x` alone."""
    x = rows["inputs"]["x"]
    x = x + jax.random.normal(key, x.shape)
    return {**rows, "inputs": {**rows["inputs"], "x": x}}


def seen(params_of, memory, batch, key):
    """The sum of what an objective sees, and a draw of its own."""
    x = batch["train"]["inputs"]["x"]
    draw = jax.random.normal(key, ())
    return (x * params_of["a"]).sum(), (memory, {"x": x, "draw": draw})


def test_an_objective_sees_the_stream_by_a_key_of_its_own():
    batch = {"train": stream(seed=1), "other": stream(seed=2)}
    changed = augmented(seen, noisy)
    _, (memory, metrics) = changed({"a": 1.0}, {"m": 0}, batch, KEY)
    own = noisy(stable_key(KEY, "augment", "train"), batch["train"])
    np.testing.assert_array_equal(metrics["x"], own["inputs"]["x"])
    assert memory == {"m": 0}
    _, (_, before) = seen({"a": 1.0}, {}, batch, KEY)
    np.testing.assert_array_equal(metrics["draw"], before["draw"])
    _, (_, other) = augmented(seen, noisy, "other")({"a": 1.0}, {}, batch, KEY)
    np.testing.assert_array_equal(other["x"], batch["train"]["inputs"]["x"])


def test_both_streams_have_keys_of_their_own():
    batch = {"train": stream(seed=1), "other": stream(seed=1)}

    def difference(params_of, memory, batch, key):
        one, two = (batch[name]["inputs"]["x"] for name in ("train", "other"))
        return jnp.abs(one - two).min(), (memory, {})

    both = augmented(augmented(difference, noisy), noisy, "other")
    assert both({}, {}, batch, KEY)[0] > 0
    assert difference({}, {}, batch, KEY)[0] == 0


def test_a_stage_descends_on_what_was_augmented():
    one = player(optax.sgd(0.1))

    def objective(params_of, memory, batch, key):
        rows = batch["train"]
        out, _ = one.model.apply(params_of["a"], {}, rows["inputs"])
        value = squared(out, rows).mean()
        return value, (memory, {"loss": value})

    def made(objective):
        own = algorithm({"a": one}, descend({"a": one}, objective), None)
        return own, *own.init(KEY, {"a": one})

    batch = {"train": stream()}
    own, state, frozen = made(augmented(objective, noisy))
    got, _ = own.step(state, frozen, batch, KEY)
    own, state, frozen = made(objective)
    by_hand = {"train": noisy(stable_key(KEY, "augment", "train"), batch["train"])}
    wanted, _ = own.step(state, frozen, by_hand, KEY)
    jax.tree.map(np.testing.assert_array_equal, got.train, wanted.train)
    plain, _ = own.step(state, frozen, batch, KEY)
    kernels = (s.train["a"]["head"]["kernel"] for s in (got, plain))
    assert not np.allclose(*kernels)


@pytest.mark.parametrize("accumulate", [1, 4])
def test_steps_are_augmented_once_and_evaluation_never(accumulate):
    players = {"a": player(optax.sgd(0.1))}
    plain = supervised(players, squared, accumulate=accumulate)
    own = augmented_steps(plain, noisy)
    state, frozen = own.init(KEY, players)
    batch = {"train": stream(padding=3)}
    got, metrics = own.step(state, frozen, batch, KEY)
    by_hand = {"train": noisy(stable_key(KEY, "augment", "train"), batch["train"])}
    wanted, same = plain.step(state, frozen, by_hand, KEY)
    jax.tree.map(np.testing.assert_array_equal, got.train, wanted.train)
    assert metrics["loss"] == same["loss"]
    query = {"query": stream(seed=3)}
    np.testing.assert_array_equal(
        own.predict(got, frozen, query).logits, plain.predict(got, frozen, query).logits
    )


def test_every_stream_of_a_batch_is_augmented_by_a_key_of_its_own():
    seen = {}

    def step(state, frozen, batch, key):
        seen.update(batch)
        return state, {}

    own = augmented_steps(Algorithm(None, step, None), noisy, None)
    batch = {"source": stream(), "target": stream(seed=2)}
    own.step(None, None, batch, KEY)
    for name, given in batch.items():
        wanted = noisy(stable_key(KEY, "augment", name), given)
        jax.tree.map(np.testing.assert_array_equal, seen[name], wanted)


def brightness_model():
    """logits = mean of each channel / 255 x kernel."""

    def init(key):
        return {"head": {"kernel": 0.1 * jax.random.normal(key, (3, 3))}}, {}

    def apply(params, stats, inputs, *, key=None, norm="running"):
        features = inputs["image"].astype(jnp.float32).mean((1, 2)) / 255
        return Outputs(features, features @ params["head"]["kernel"]), stats

    return Model(init, apply, 3)


def test_training_on_mixed_pictures_learns_their_colours():
    """Jitter, flip and mixup within compiled steps, wild padding among the rows."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 24)
    image = rng.integers(0, 100, (24, 5, 4, 3))
    image[np.arange(24), :, :, labels] += 120
    weight = np.where(np.arange(24) < 20, 1.0, 0.0)
    labels[20:] = (labels[20:] + 1) % 3
    train = {
        "inputs": {"image": jnp.asarray(image, jnp.uint8)},
        "labels": jnp.asarray(labels, jnp.int32),
        "weight": jnp.asarray(weight, jnp.float32),
        "index": jnp.arange(24),
    }
    players = {"a": player(optax.adam(0.3), of=brightness_model())}

    def loss(outputs, rows):
        return cross_entropy(outputs.logits, rows["labels"])

    augment = compose(colour_jitter(brightness=0.2), horizontal_flip(), mixup(0.4, 3))
    own = augmented_steps(supervised(players, loss), augment)
    state, frozen = own.init(KEY, players)

    @jax.jit
    def run(state, frozen, batch):
        def one(state, step):
            return own.step(state, frozen, batch, jax.random.fold_in(KEY, step))

        return jax.lax.scan(one, state, jnp.arange(60))

    state, metrics = run(state, frozen, {"train": train})
    assert np.isfinite(metrics["loss"]).all()
    logits = own.predict(state, frozen, {"query": train}).logits
    right = np.asarray(logits.argmax(-1)) == labels
    assert right[:20].all()
    assert not right[20:].any()


def test_a_missing_stream_raises_with_the_nearest():
    batch = {"train": stream()}
    with pytest.raises(NoMatch, match="stream 'trian' .* nearest: train"):
        augmented(seen, noisy, "trian")({}, {}, batch, KEY)


def test_tasks_are_augmented_one_by_one():
    """[K B ...] is what each task gives alone, by the key of its place."""
    tasks = [stream(seed=seed) for seed in (1, 2)]
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), *tasks)
    found = per_task(noisy)(KEY, both)
    for i, key in enumerate(jax.random.split(KEY, 2)):
        own = noisy(key, tasks[i])["inputs"]["x"]
        np.testing.assert_allclose(found["inputs"]["x"][i], own, rtol=1e-6)
    assert set(found) == set(both)
