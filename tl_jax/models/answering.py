"""A causal model that answers questions, and how likely it finds the right answers."""

import jax
import jax.numpy as jnp

from tl_jax.models.writing import writer
from tl_jax.types import Array, Model

IGNORED = -100


def answering(
    model: Model,
    length: int,
    *,
    end: int,
    pad: int = 0,
    beams: int = 1,
    penalty: float = 1.0,
) -> Model:
    """The model with `written` [B length] where its inputs hold questions alone.

    Inputs that lack `asked` pass as they are: so what trains is the model itself.
    Where they hold `asked` [B P] and `asked_mask`, what is written follows these alone,
    greedily or by beams; with `answer` [B length], tokens or -100, too, `logits`
    [B length] are the log probabilities of those tokens by teacher forcing, each behind
    the question and the ones before; else zeros.

    Raises ValueError for a model that has no way to go on.
    """
    write = writer("answering", model, length, end, pad, beams, penalty)

    def apply(params, stats, inputs, *, key=None, norm="running"):
        if "asked" not in inputs:
            return model.apply(params, stats, inputs, key=key, norm=norm)
        front = {"tokens": inputs["asked"], "mask": inputs["asked_mask"]}
        whole, answer = front, inputs.get("answer")
        if answer is not None:
            said = jnp.where(answer == IGNORED, pad, answer)
            more = {"tokens": said, "mask": answer != IGNORED}
            whole = {n: jnp.concatenate([front[n], more[n]], 1) for n in front}
        outputs, stats = model.apply(params, stats, whole, key=key, norm=norm)
        scored = jnp.zeros((len(front["tokens"]), length))
        if answer is not None:
            scored = likelihood(outputs.logits, answer)
        return outputs._replace(logits=scored, written=write(params, front)), stats

    return model._replace(apply=apply)


def likelihood(logits: Array, answer: Array) -> Array:
    """Log probability of each answer's tokens, 0 for those that are none.

    logits [B P+L V] of questions padded in front and answers behind them, answer [B L]
    -> [B L].
    """
    count = answer.shape[1]
    own = jax.nn.log_softmax(logits[:, -count - 1 : -1].astype(jnp.float32))
    known = answer != IGNORED
    at = jnp.where(known, answer, 0)[..., None]
    return jnp.where(known, jnp.take_along_axis(own, at, -1)[..., 0], 0.0)
