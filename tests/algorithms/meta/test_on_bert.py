"""Meta-learning of a transformer's parts: plans and methods multiply."""

import jax
import numpy as np
import optax
import pytest
from few import player, stream

from tl_jax.algorithms.meta import (
    Inner,
    episodic,
    inner_rates,
    learned_rates,
    maml,
    meta_sgd,
)
from tl_jax.losses import cross_entropy
from tl_jax.models import bert
from tl_jax.transfer import chain, freeze, lora, new_head, prefix, rate
from tl_jax.tree import flatten

ATTENTION = r"blocks/\d+/attention"
FIXED = dict(rate=0.0, attention_rate=0.0, head_rate=0.0)
HEAD = chain(freeze(".*"), rate("head/.*", 1.0))
PATCHES = r".*/patch/.*/(a|b|keys|values)"


@pytest.fixture(scope="module")
def model():
    """A BERT of one block without dropout."""
    sizes = dict(vocabulary=20, width=8, depth=1, heads=2, hidden=12, positions=8)
    return bert(**sizes, **FIXED, rules="auto")


@pytest.fixture(scope="module")
def batch():
    """Two tasks of two classes, rows of 6 and 4 tokens."""
    rng = np.random.default_rng(0)

    def part(rows):
        mask = np.ones((2, rows, 6), np.int32)
        mask[:, ::2, 4:] = 0
        labels = np.tile(np.arange(rows) % 2, (2, 1)).astype(np.int32)
        tokens = rng.integers(0, 20, (2, rows, 6))
        found = stream({}, labels)
        return found | {"inputs": {"tokens": tokens, "mask": mask}}

    return {"support": part(4), "query": part(2)}


def loss(outputs, stream):
    return cross_entropy(outputs.logits, stream["labels"])


def made(model, outer, inner_plan, learned=False):
    one = player(model, optax.sgd(1.0), *outer, new_head(2, model.width, std=0.5))
    rates = inner_rates(one.plan, inner_plan)
    players = {"model": one}
    if learned:
        key, outer_tx = jax.random.key(3), optax.sgd(1.0)
        players["rates"] = learned_rates(key, one.plan, rates, outer_tx)
    inner = Inner(rates, meta_sgd() if learned else optax.sgd(0.5), 2)
    built = episodic(players, maml(model, loss, inner), loss)
    return built, *built.init(jax.random.key(0), players)


def moved(built, state, frozen, batch):
    """{player/path: largest change of a leaf in one meta-step}."""
    after, metrics = jax.jit(built.step)(state, frozen, batch, jax.random.key(1))
    assert np.isfinite(metrics["loss"])
    gone = jax.tree.map(lambda a, b: np.abs(a - b).max(), state.train, after.train)
    return flatten(gone)


def test_lora_inside_maml(model, batch):
    """Adapters and head move within tasks and outside, the base nowhere."""
    outer = [freeze(".*"), lora(2, f"{ATTENTION}/(query|value)")]
    found = moved(*made(model, outer, None), batch)
    where = [f"blocks/0/attention/{n}/patch/lora" for n in ("query", "value")]
    wanted = {f"model/{site}/{leaf}" for site in where for leaf in ("a", "b")}
    assert set(found) == wanted | {"model/head/kernel", "model/head/bias"}
    assert all(size > 0 for size in found.values())


def test_lora_alone_within_tasks(model, batch):
    """The whole network is meta-learned, and a task moves its adapters only."""
    outer = [lora(2, f"{ATTENTION}/(query|value)")]
    plan = chain(freeze(".*"), rate(PATCHES, 1.0))
    built, state, frozen = made(model, outer, plan)
    found = moved(built, state, frozen, batch)
    assert "model/embed/tokens/embedding" in found
    assert all(size > 0 for path, size in found.items() if "key/bias" not in path)
    none, *_ = made(model, outer, HEAD)
    first, second = (b.predict(state, frozen, batch).logits for b in (built, none))
    assert np.abs(first - second).max() > 1e-5


def test_anil(model, batch):
    """A head that moves within tasks over a body that learns from all of them."""
    built, state, frozen = made(model, [freeze("embed/.*")], HEAD)
    found = moved(built, state, frozen, batch)
    assert not any(path.startswith("model/embed") for path in found)
    assert all(size > 0 for path, size in found.items() if "key/bias" not in path)


def test_meta_sgd_of_a_prefix(model, batch):
    """A frozen network whose prefix has a learned start and learned rates."""
    outer = [freeze(".*"), prefix(3, ATTENTION, std=0.5)]
    plan = chain(freeze(".*"), rate(PATCHES, 1.0))
    built, state, frozen = made(model, outer, plan, learned=True)
    site = "blocks/0/attention/patch/prefix"
    rates = flatten(state.train["rates"])
    assert {path: x.shape for path, x in rates.items()} == {
        f"{site}/keys": (3, 8),
        f"{site}/values": (3, 8),
    }
    found = moved(built, state, frozen, batch)
    both = {
        f"{p}/{site}/{leaf}" for p in ("model", "rates") for leaf in ("keys", "values")
    }
    assert both <= set(found)
    assert all(size > 0 for size in found.values())
