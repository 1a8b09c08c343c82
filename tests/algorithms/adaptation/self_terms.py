"""Every term of self-training and of few labels, ready to run: what tests share."""

import jax
import jax.numpy as jnp
from two_domains import CLASSES, STEPS, batch, loss, network, player

from tl_jax.algorithms.adaptation import (
    adapted,
    bnm,
    ccsa,
    entropy_minimisation,
    fixmatch,
    flexmatch,
    information_maximisation,
    mcc,
    mean_teacher,
    mme,
    noisy,
    noisy_student,
    pada,
    pseudo_labels,
    taught_by,
)

KEY = jax.random.key(3)
STRONG = noisy(0.3)
EXAMPLES = 8
LOGITS = jax.random.normal(jax.random.key(9), (EXAMPLES, CLASSES))
TERMS = {
    "mcc": lambda: mcc(),
    "bnm": lambda: bnm(),
    "information": lambda: information_maximisation(),
    "entropy": lambda: entropy_minimisation(0.5),
    "pseudo_labels": lambda: pseudo_labels(threshold=0.5),
    "fixmatch": lambda: fixmatch(STRONG, threshold=0.5),
    "fixmatch_weak": lambda: fixmatch(STRONG, weak=noisy(0.1), threshold=0.5),
    "flexmatch": lambda: flexmatch(STRONG, EXAMPLES, threshold=0.6),
    "mean_teacher": lambda: mean_teacher(STRONG, noisy(0.1), grows=0.0),
    "noisy_student": lambda: noisy_student(STRONG, begin=0.2),
    "taught_by": lambda: taught_by(LOGITS, STRONG),
    "mme": lambda: mme(),
    "ccsa": lambda: ccsa(margin=3.0),
    "pada": lambda: pada(CLASSES, every=3),
}
"""Name -> a term; `ccsa` needs labelled rows of the target."""


def built(terms, players=None, **how):
    """(the algorithm, players, a state, what is frozen) of terms by name."""
    players = {"model": player(network())} if players is None else players
    labelled = how.pop("labelled", False)
    made = adapted(players, loss, terms, steps=STEPS, labelled=labelled, **how)
    return made, players, *made.init(jax.random.key(0), players)


def one_step(terms, given=None, **how):
    made, _, state, frozen = built(terms, **how)
    return state, *jax.jit(made.step)(state, frozen, given or batch(), KEY)


def go(made, state, frozen, first, count, labelled=False):
    """Steps with the batch and key of their number."""
    step = jax.jit(made.step)
    for i in range(first, first + count):
        state, metrics = step(
            state, frozen, batch(i, labelled=labelled), jax.random.fold_in(KEY, i)
        )
    return state, metrics


def outputs(params, x, model=None):
    return (model or network()).apply(params, {}, {"features": jnp.asarray(x)})[0]
