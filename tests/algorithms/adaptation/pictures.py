"""Two small domains of pictures, and players for them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tl_jax.models import conv4, generator, mlp, patch_critic
from tl_jax.transfer import freeze, full
from tl_jax.types import Model, Outputs, Player

SIZE, CLASSES = 8, 3
SHAPE = (SIZE, SIZE, 1)


def player(model, tx=None, seed=0, frozen=False):
    plan = full(*model.init(jax.random.key(seed)))
    if frozen:
        plan = freeze(".*")(jax.random.key(seed), plan)
    return Player(model, plan, optax.adam(1e-2) if tx is None else tx)


def maker():
    how = dict(form="lax", rules="auto")  # small programs
    return generator(size=SIZE, channels=1, width=3, depth=1, halvings=1, **how)


def judge():
    return patch_critic(size=SIZE, channels=1, width=3, depth=1, form="lax")


def classifier():
    sizes = dict(size=SIZE, channels=1, filters=3, depth=2, classes=CLASSES)
    return conv4(**sizes, form="lax", rules="auto")


def tiny_maker():
    """A scale and a shift of each pixel: what compiles at once."""

    def init(key):
        one, two = jax.random.split(key)
        site = {"scale": 1 + 0.3 * jax.random.normal(one, SHAPE)}
        return {"pixels": site | {"shift": 0.3 * jax.random.normal(two, SHAPE)}}, {}

    def apply(params, stats, inputs, *, key=None, norm="running"):
        site, x = params["pixels"], inputs["image"].astype(jnp.float32) / 127.5 - 1
        made = 127.5 * (jnp.tanh(x * site["scale"] + site["shift"]) + 1)
        return Outputs(made.mean((1, 2)), hidden=(made,)), stats

    return Model(init, apply, 1)


def tiny_judge():
    """A logit of each quarter's mean, and of its square."""

    def init(key):
        return {"quarters": {"kernel": jax.random.normal(key, (2, 4))}}, {}

    def apply(params, stats, inputs, *, key=None, norm="running"):
        x = inputs["image"].astype(jnp.float32) / 127.5 - 1
        x = x.reshape(len(x), 2, SIZE // 2, 2, SIZE // 2)
        means = jnp.stack([x.mean((2, 4)), jnp.square(x).mean((2, 4))], -1)
        means = means.reshape(len(x), 4, 2)
        logits = (means * params["quarters"]["kernel"].T).sum(-1)
        return Outputs(means.mean(1), logits), stats

    return Model(init, apply, 2)


def tiny_classifier():
    return mlp(SIZE * SIZE, (5,), classes=CLASSES, field="image", std=1e-2)


def translators(tx=None, critic_tx=None, make=tiny_maker, critic=tiny_judge):
    return {
        "to_target": player(make(), tx, 1),
        "to_source": player(make(), tx, 2),
        "target_critic": player(critic(), critic_tx or tx, 3),
        "source_critic": player(critic(), critic_tx or tx, 4),
    }


def stream(seed, rows=4, low=0, labels=True, padding=0):
    """Grey pictures; the last `padding` rows weigh nothing and hold other ones."""
    rng = np.random.default_rng(seed)
    image = rng.integers(low, low + 100, (rows, *SHAPE)).astype(np.uint8)
    weight = np.ones(rows, np.float32)
    if padding:
        weight[-padding:] = 0
    made = {"inputs": {"image": jnp.asarray(image)}, "weight": jnp.asarray(weight)}
    made["index"] = jnp.arange(rows)
    if labels:
        made["labels"] = jnp.asarray(rng.integers(0, CLASSES, rows))
    return made


def batch(seed=0, padding=0):
    target = stream(seed + 1, 5, 120, labels=False, padding=padding)
    return {"source": stream(seed, padding=padding), "target": target}


def other_padding(given):
    """The batch with other pictures in the rows of weight 0."""

    def changed(stream):
        image = stream["inputs"]["image"]
        empty = (stream["weight"] == 0)[:, None, None, None]
        return stream | {"inputs": {"image": jnp.where(empty, 255 - image, image)}}

    return {name: changed(stream) for name, stream in given.items()}
