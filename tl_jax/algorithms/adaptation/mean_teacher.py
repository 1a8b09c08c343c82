"""Mean teacher: agree with a running average of oneself."""

import jax
import jax.numpy as jnp

from tl_jax.algorithms.adaptation.seen import Found, Seen, Term
from tl_jax.algorithms.adaptation.views import (
    logits_of,
    playing,
    positive,
    share,
    target,
    view,
)
from tl_jax.algorithms.core import ema
from tl_jax.losses.consistency import rise, squared_consistency
from tl_jax.tree import merge
from tl_jax.types import Algorithm, Array, Augment, Batch, Frozen, Outputs, State

TEACHER = "teacher"
"""Where `memory` holds the teacher's moving leaves."""


def mean_teacher(
    student: Augment | None = None,
    teacher: Augment | None = None,
    *,
    strength: float = 1.0,
    decay: float = 0.99,
    grows: float = 0.25,
    player: str = "model",
) -> Term:
    """Squared consistency with an average of all former students (Tarvainen, 2017).

    strength exp(-5 (1 - p / grows)^2) 1/B sum_i |p(view(x_i)) - q(view'(x_i))|^2

    q is the teacher's: an exponential average of the moving leaves, in
    memory["teacher"], with min(decay, 1 - 1/step) of what it was, so that the first
    steps count fully. p is the share of the run that is done; from `grows` on the
    strength is whole. `student` and `teacher` are views of the target, each with
    dropout of its own; without `student` the step's own pass is taken. Batch norm uses
    the batch's statistics in both. TLlib does the same per epoch; the authors take the
    mean over classes, where this takes the sum (`squared_consistency`). French et al.
    (2018) first adapted domains so. Raises ValueError for numbers out of range,
    `NoMatch` for a missing player.
    """
    positive("mean_teacher", strength=strength)
    share("mean_teacher", decay=decay, grows=grows)

    def value(seen: Seen) -> Found:
        side = target(seen, "mean_teacher")
        whole = merge(seen.memory[TEACHER], seen.params[player])
        whole = jax.lax.stop_gradient(whole)
        told = view(seen, teacher or _same, "teacher", player, whole)
        own = side.outputs if student is None else view(seen, student, "own", player)
        logits, reference = (logits_of(o, "mean_teacher") for o in (own, told))
        loss = side.mean(squared_consistency(logits, reference))
        agree = side.mean(jnp.float32(logits.argmax(-1) == reference.argmax(-1)))
        value = strength * rise(seen.progress, grows) * loss
        return Found(value, metrics={"agree": agree})

    def stages(players):
        return (ema(player, TEACHER, lambda step: warmed(step, decay)),)

    return Term(value, stages=stages, check=playing(player))


def warmed(step: Array, decay: float) -> Array:
    """min(decay, 1 - 1 / (step + 1)): at first the plain average. step [] -> []."""
    return jnp.minimum(decay, 1 - 1 / (jnp.asarray(step, jnp.float32) + 1))


def taught(made: Algorithm, player: str = "model") -> Algorithm:
    """The algorithm, whose predictions are the teacher's (Tarvainen and Valpola, 2017).

    By the student's statistics of batch norm, as in TLlib.
    """

    def predict(state: State, frozen: Frozen, batch: Batch) -> Outputs:
        train = state.train | {player: state.memory[TEACHER]}
        return made.predict(state._replace(train=train), frozen, batch)

    return made._replace(predict=predict)


def _same(key, stream):
    return stream
