"""Steps under penalties: what their tests share."""

import jax
import numpy as np

from tl_jax.algorithms import current, replan, supervised
from tl_jax.losses import cross_entropy
from tl_jax.optim import sgd
from tl_jax.transfer import chain, freeze, rate
from tl_jax.tree import flatten
from tl_jax.types import Player

KEY = jax.random.key(0)
HEAD = chain(freeze(".*"), rate("head/.*", 1.0))
"""The head alone moves."""


def loss(outputs, stream):
    return cross_entropy(outputs.logits, stream["labels"])


def make(model, plan, penalties, tx=sgd(0.5), **options):  # noqa: B008 - a constant
    """(algorithm, players, state, frozen) of a model under penalties."""
    players = {"model": Player(model, plan, tx)}
    made = supervised(players, loss, penalties=penalties, **options)
    return made, players, *made.init(KEY, players)


def go_on(players, state, frozen, transfer, penalties):
    """The same, once a transform has changed the plan."""
    player = current(players["model"], "model", state, frozen)
    players = {"model": player._replace(plan=transfer(KEY, player.plan))}
    made = supervised(players, loss, penalties=penalties)
    return made, players, *replan(made, KEY, players, state)


def run(made, state, frozen, batch, count):
    """The state after so many steps, and the last one's metrics."""
    step, metrics = jax.jit(made.step), {}
    for _ in range(count):
        state, metrics = step(state, frozen, batch, KEY)
    return state, metrics


def numbers(tree):
    """`path -> leaf`, in float64."""
    return {path: np.asarray(leaf, np.float64) for path, leaf in flatten(tree).items()}
