"""Noisy student: learn under noise what a frozen teacher said without any."""

from collections.abc import Callable, Iterable, Mapping

import chex
import jax
import jax.numpy as jnp
import numpy as np

from tl_jax.algorithms.adaptation.seen import Found, Seen, Term
from tl_jax.algorithms.adaptation.views import (
    logits_of,
    playing,
    positive,
    share,
    target,
    view,
)
from tl_jax.losses.consistency import believed, distillation
from tl_jax.transfer.plan import trainable
from tl_jax.tree import copy, merge, partition
from tl_jax.types import Array, Augment, Frozen, Key, Outputs, Player, State, Stream


def taught_by(
    logits: Array,
    noise: Augment,
    *,
    strength: float = 1.0,
    temperature: float = 1.0,
    threshold: float = 0.0,
    player: str = "model",
) -> Term:
    """Learn the logits that a teacher gave, from noisy rows (Xie et al., 2020).

    strength 1/B sum_i 1(max q_i >= threshold) H(q_i, p(noise(x_i)))

    q and p are softmaxes over `temperature` (TLlib's is 2, the paper's labels are
    plain), the threshold that of q at temperature 1 (the paper's filter is 0.3).
    `logits` [N C], one row for each target `index` (`teacher_logits`), are memory:
    data of the step, saved and resumed. Noise is a strong view and the model's own
    dropout. A row without logits, NaN, gives NaN. Raises ValueError for numbers out of
    range and logits of another shape, `NoMatch` for a missing player.
    """
    _checked("taught_by", strength, temperature, threshold)
    chex.assert_rank(logits, 2)

    def init(key: Key, players: Mapping[str, Player]) -> dict[str, Array]:
        return {"logits": jnp.array(logits, jnp.float32)}

    def value(seen: Seen) -> Found:
        side = target(seen, "taught_by")
        known = (
            seen.own["logits"]
            .at[side.stream["index"]]
            .get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)
        )
        real = side.weight > 0
        told = jnp.where(real[:, None], known, 0)
        said = view(seen, noise, "student", player)
        return _learnt(seen, said, told, strength, temperature, threshold)

    return Term(value, init, check=playing(player))


def teacher_logits(
    predict: Callable[[State, Frozen, Mapping[str, Stream]], Outputs],
    state: State,
    frozen: Frozen,
    streams: Iterable[Stream],
    examples: int,
) -> Array:
    """What a trained teacher says of the target, each row once and without noise.

    `predict` is its algorithm's, compiled or not; `streams` are batches whose `index`
    is below `examples`. Rows that never come are NaN. -> [N C] float32. Raises
    ValueError for an index beyond `examples`, and for no streams at all.
    """
    rows = None
    for stream in streams:
        said = np.asarray(
            logits_of(predict(state, frozen, {"query": stream}), "teacher_logits")
        )
        index, real = np.asarray(stream["index"]), np.asarray(stream["weight"]) > 0
        if rows is None:
            rows = np.full((examples, said.shape[1]), np.nan, np.float32)
        if real.any() and index[real].max() >= examples:
            raise ValueError(
                f"teacher_logits: index {index[real].max()}, expected below {examples}"
            )
        rows[index[real]] = said[real]
    if rows is None:
        raise ValueError("teacher_logits: there are no streams")
    return jnp.asarray(rows)


def noisy_student(
    noise: Augment,
    *,
    begin: float = 0.5,
    strength: float = 1.0,
    temperature: float = 1.0,
    threshold: float = 0.0,
    player: str = "model",
) -> Term:
    """`taught_by` oneself, as one stood at the share `begin` of the run.

    The teacher's moving leaves and statistics of batch norm are memory; from `begin`
    on they stay as they are, and the term counts. It sees clean rows, without dropout
    and by its running statistics. The student goes on from there in the same run,
    where the paper's starts afresh and may be larger: for that, train a teacher, then
    another algorithm with `taught_by(teacher_logits(...), noise)`. Raises as
    `taught_by`.
    """
    _checked("noisy_student", strength, temperature, threshold)
    share("noisy_student", begin=begin)

    def init(key: Key, players: Mapping[str, Player]) -> dict:
        plan = players[player].plan
        moving, _ = partition(plan.params, trainable(plan.rates))
        kept = {"params": copy(moving), "stats": copy(plan.stats)}
        return kept | {"taken": jnp.zeros((), bool)}

    def value(seen: Seen) -> Found:
        side, own = target(seen, "noisy_student"), seen.own
        teacher = _teacher(seen, player)
        whole = merge(teacher["params"], jax.lax.stop_gradient(seen.params[player]))
        told, _ = seen.run(
            player,
            side.stream["inputs"],
            norm="running",
            params=whole,
            stats=teacher["stats"],
        )
        said = view(seen, noise, "student", player)
        now = seen.progress >= begin
        told = logits_of(told, "noisy_student")
        found = _learnt(seen, said, told, strength * now, temperature, threshold)
        return found._replace(own=teacher | {"taken": own["taken"] | now})

    return Term(value, init, check=playing(player))


def _teacher(seen: Seen, player: str) -> dict:
    """What was kept once it was taken, else the player as it stands."""
    own = seen.own

    def chosen(kept, now):
        return jnp.where(own["taken"], kept, jax.lax.stop_gradient(now))

    moving = jax.tree.map(
        lambda kept, now: None if kept is None else chosen(kept, now),
        own["params"],
        seen.params[player],
        is_leaf=lambda leaf: leaf is None,
    )
    stats = jax.tree.map(chosen, own["stats"], seen.memory["stats"][player])
    return {"params": moving, "stats": stats}


def _learnt(seen, said, told, strength, temperature, threshold) -> Found:
    side, logits = target(seen, "student"), logits_of(said, "student")
    chex.assert_equal_shape([logits, told])
    mask = believed(told, threshold).mask
    each = mask * distillation(logits, told, temperature)
    each = jnp.where(jnp.isnan(told).any(-1), jnp.nan, each)  # whatever the mask is
    each = jnp.where(side.weight > 0, each, 0)
    metrics = {"believed": side.mean(mask)}
    return Found(strength * side.mean(each), metrics=metrics)


def _checked(term: str, strength: float, temperature: float, threshold: float) -> None:
    positive(term, strength=strength)
    share(term, threshold=threshold)
    if not temperature > 0:
        raise ValueError(f"{term}: temperature is {temperature}, expected above 0")
