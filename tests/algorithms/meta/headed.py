"""Learners with a head that is computed from the support set, each with its players."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from few import blobs, player, wide

from tl_jax.algorithms.meta import (
    Inner,
    Learner,
    baseline,
    episodic,
    learned,
    logistic,
    matching,
    metaoptnet,
    neighbours,
    prototypical,
    r2d2,
    relation,
    setfit,
    simpleshot,
)
from tl_jax.algorithms.meta.learner import Seen
from tl_jax.models import full_context, readout, values
from tl_jax.models.mlp import mlp
from tl_jax.types import Player

WAYS = 3


class Case(NamedTuple):
    """A learner and who plays."""

    learner: Learner
    players: dict[str, Player]


def body(**how):
    """Features [6], without a head; smooth."""
    settings = dict(activation="tanh", dtype=wide())
    return mlp(5, (6,), **(settings | how))


def adjust(**start):
    return player(values(**start), optax.sgd(1.0))


def case(name: str, ways: int = WAYS, **how) -> Case:
    """The learner `name` with its players, in JAX's default precision."""
    model = body(**how.pop("body", {}))
    players = {"model": player(model, optax.sgd(1.0))}
    return CASES[name](model, ways, players, **how)


def _prototypical(model, ways, players, **how):
    return Case(prototypical(model, ways, **how), players)


def _cosine(model, ways, players, **how):
    players = players | {"adjust": adjust(temperature=-2.0)}
    temperature = learned("temperature", positive=True)
    how = dict(distance="cosine", temperature=temperature) | how
    return Case(prototypical(model, ways, **how), players)


def _matching(model, ways, players, **how):
    return Case(matching(model, ways, temperature=0.2, **how), players)


def _context(model, ways, players, **how):
    context = full_context(model.width, processing_steps=2)
    players = players | {"context": player(context, optax.sgd(1.0), seed=3)}
    return Case(matching(model, ways, context=context, **how), players)


def _r2d2(model, ways, players, **how):
    players = players | {"adjust": adjust(strength=-1.0, scale=1.0, bias=0.2)}
    return Case(r2d2(model, ways, **how), players)


def _svm(model, ways, players, **how):
    players = players | {"adjust": adjust(scale=1.0)}
    return Case(metaoptnet(model, ways, cost=0.5, **how), players)


def _logistic(model, ways, players, **how):
    players = players | {"adjust": adjust(strength=-2.0)}
    strength = learned("strength", positive=True)
    how = dict(strength=strength, tolerance=exactly()) | how
    return Case(logistic(model, ways, **how), players)


def _simpleshot(model, ways, players, **how):
    players = players | {"adjust": adjust(mean=np.linspace(-1, 1, 6))}
    return Case(simpleshot(model, ways, mean=learned("mean"), **how), players)


def _relation(model, ways, players, **how):
    module = mlp(12, (4,), classes=1, activation="tanh", dtype=wide())
    players = players | {"relation": player(module, optax.sgd(1.0), seed=3)}
    return Case(relation(model, ways, module, **how), players)


def _cosine_baseline(model, ways, players, **how):
    last = readout(model.width, ways, kind="cosine")
    players = players | {"readout": player(last, optax.sgd(1.0), seed=3)}
    if ways > WAYS:  # a class more, whose row comes last
        first = readout(model.width, WAYS, kind="cosine")
        kernel = player(first, None, seed=3).plan.params["kernel"]
        wider = {"kernel": jnp.pad(kernel, ((0, 0), (0, 1)), constant_values=1)}
        plan = players["readout"].plan._replace(params=wider)
        players["readout"] = players["readout"]._replace(plan=plan)
    inner = Inner(players["readout"].plan.rates, optax.sgd(0.5), 2)
    return Case(baseline(model, ways, last, crossed, inner, **how), players)


def _setfit(model, ways, players, **how):
    inner = Inner(players["model"].plan.rates, optax.sgd(0.1), 1)
    how = dict(strength=0.1, tolerance=exactly()) | how
    return Case(setfit(model, ways, inner, **how), players)


def _neighbours(model, ways, players, **how):
    return Case(neighbours(model, ways, 3, **how), players)


def exactly() -> float:
    """A tolerance near what the default precision can give."""
    return 1e-6 if wide() == jnp.float32 else 1e-11


CASES = {
    "prototypical": _prototypical,
    "cosine": _cosine,
    "matching": _matching,
    "full context": _context,
    "r2d2": _r2d2,
    "svm": _svm,
    "logistic": _logistic,
    "simpleshot": _simpleshot,
    "relation": _relation,
    "baseline++": _cosine_baseline,
    "setfit": _setfit,
    "neighbours": _neighbours,
}
LEARNING = [name for name in CASES if name != "neighbours"]
"""Those that have a gradient."""


def crossed(outputs, stream):
    """[B] cross entropy in the precision of the logits."""
    return optax.softmax_cross_entropy_with_integer_labels(
        outputs.logits, stream["labels"]
    )


def started(made: Case, loss=crossed, **how):
    """(algorithm, state, frozen) of episodic training."""
    algorithm = episodic(made.players, made.learner, loss, **how)
    return algorithm, *algorithm.init(jax.random.key(0), made.players)


def one_by_one(made: Case, batch: dict) -> np.ndarray:
    """Logits [K B C] of predictions, a task after another, uncompiled."""
    params_of = {name: p.plan.params for name, p in made.players.items()}
    seen = Seen({n: p.plan.stats for n, p in made.players.items()}, None, False)
    found = []
    for k in range(len(batch["query"]["labels"])):
        own = jax.tree.map(lambda x, k=k: jnp.asarray(x[k]), batch)
        fitted = made.learner.fit(params_of, own["support"], seen)
        outputs, _ = made.learner.predict(fitted, own["query"]["inputs"], seen)
        found.append(outputs.logits)
    return np.stack(found)


def overlapping(**how) -> dict:
    """Classes that are not too easy: losses far from 0."""
    batch = blobs(WAYS, **how)
    for part in batch.values():
        part["inputs"]["features"] = part["inputs"]["features"] / 3
    return batch
