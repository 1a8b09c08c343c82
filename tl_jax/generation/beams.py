"""Beam search: the likeliest sequences among several that are kept at every step."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from tl_jax.tree import one_of
from tl_jax.types import Array, Decoder, Params

Stopping = bool | Literal["never"]
LOW = -1e9
"""The score of what is out: a number, so that sums with it stay numbers."""


class Beams(NamedTuple):
    """Sequences by their scores, the best first."""

    tokens: Array
    """[B K length]."""
    scores: Array
    """[B K], the sum of log probabilities over length^penalty."""


class Search(NamedTuple):
    """What one step hands to the next; K sequences live, and K that have ended."""

    at: Array
    logits: Array
    """[B*K V] behind the live ones."""
    cache: Any
    live: Beams
    ended: Beams
    filled: Array
    """[B K] whether there is an ended one."""
    open: Array
    """[B 1] whether a live one may still be better than what has ended."""
    out: Array
    """Whether every sequence that could go on has ended."""


def beam_search(
    decoder: Decoder,
    params: Params,
    inputs: dict[str, Any],
    length: int,
    *,
    beams: int,
    end: int,
    pad: int = 0,
    penalty: float = 1.0,
    stopping: Stopping = False,
) -> Beams:
    """The best `beams` sequences of at most `length` tokens behind what `inputs` hold.

    At each step the 2K likeliest of all next tokens of K sequences are looked at;
    those of the first K which end (by `end`, or because they are full) compete for K
    places by log probability / tokens^penalty, `end` counted (Wu et al., 2016, have
    another divisor); the best K others go on. A `penalty` above 0 favours long
    sequences. Semantics and names are transformers' `generate`, whose `stopping` is:

    True: an example is done when K have ended.
    False: also when the best live one, were it to end now, is no better than the worst
    ended one; a guess where the penalty is above 0, since scores may rise.
    "never": as False, but with the divisor that is kindest to the live one, `length`
    tokens for a penalty above 0: then nothing better is missed.

    `pad` stands behind the end. Raises ValueError for a length below 1 or fewer beams
    than 1, `NoMatch` for unknown stopping.
    """
    if length < 1 or beams < 1:
        raise ValueError(
            f"beam_search: length {length} and beams {beams}, expected 1 or more"
        )
    one_of("stopping", str(stopping), ("True", "False", "never"))
    logits, cache = decoder.start(params, inputs, length)
    count = len(logits)

    def scored(tokens: Array | int, exponent: float) -> Array:
        return jnp.asarray(tokens, jnp.float32) ** exponent

    def more(now: Search) -> Array:
        full = now.filled.all() & (stopping is True)
        return now.open.any() & ~full & ~now.out

    def step(now: Search) -> Search:
        found, parents, ids = candidates(now, beams)
        stops = (ids == end) | (now.at + 1 >= length)
        live, own = going_on(found, stops, parents, beams)
        rated = found.scores / scored(now.at + 1, penalty)
        first = jnp.arange(2 * beams) < beams
        closed = now.filled.all(1, keepdims=True) & (stopping is True)
        rated += LOW * closed + LOW * ~now.open + LOW * ~(stops & first)
        ended, filled = merged(now, found.tokens, rated, stops & first, beams)
        kindest = length if stopping == "never" and penalty > 0 else now.at + 1
        best = live.scores[:, :1] / scored(kindest, penalty)
        worst = jnp.where(filled, ended.scores.min(1, keepdims=True), LOW)
        is_open = now.open & (best > worst).any(1, keepdims=True)
        last = lax.dynamic_index_in_dim(live.tokens, now.at, 2, keepdims=False)
        moved = now.cache._replace(rows=reordered(now.cache.rows, own))
        logits, moved = decoder.step(params, moved, last.reshape(-1))
        return Search(
            now.at + 1, logits, moved, live, ended, filled, is_open, stops.all()
        )

    rows = jax.tree.map(lambda leaf: jnp.repeat(leaf, beams, 0), cache.rows)
    blank = jnp.full((count, beams, length), pad, jnp.int32)
    scores = jnp.full((count, beams), LOW)
    begun = Search(
        jnp.int32(0),
        jnp.repeat(logits, beams, 0),
        cache._replace(rows=rows),
        Beams(blank, scores.at[:, 0].set(0.0)),  # all are alike: one is looked at
        Beams(blank, scores),
        jnp.zeros((count, beams), bool),
        jnp.ones((count, 1), bool),
        jnp.asarray(False),
    )
    return lax.while_loop(more, step, begun).ended


def candidates(now: Search, beams: int) -> tuple[Beams, Array, Array]:
    """The 2K likeliest continuations, their parents [B 2K] and last tokens."""
    count, words = len(now.open), now.logits.shape[-1]
    logp = jax.nn.log_softmax(now.logits.astype(jnp.float32))
    total = logp.reshape(count, beams, words) + now.live.scores[..., None]
    scores, chosen = lax.top_k(total.reshape(count, -1), 2 * beams)
    parents, ids = chosen // words, chosen % words
    tokens = jnp.take_along_axis(now.live.tokens, parents[..., None], 1)
    tokens = lax.dynamic_update_index_in_dim(tokens, ids, now.at, 2)
    return Beams(tokens, scores), parents, ids


def going_on(
    found: Beams, stops: Array, parents: Array, beams: int
) -> tuple[Beams, Array]:
    """The best K that have not ended, and their parents [B K]."""
    scores, chosen = lax.top_k(found.scores + LOW * stops, beams)
    tokens = jnp.take_along_axis(found.tokens, chosen[..., None], 1)
    return Beams(tokens, scores), jnp.take_along_axis(parents, chosen, 1)


def merged(
    now: Search, tokens: Array, rated: Array, ends: Array, beams: int
) -> tuple[Beams, Array]:
    """The best K of those that had ended and of those that end now."""
    every = jnp.concatenate([now.ended.tokens, tokens], 1)
    scores = jnp.concatenate([now.ended.scores, rated], 1)
    filled = jnp.concatenate([now.filled, ends], 1)
    scores, chosen = lax.top_k(scores, beams)
    kept = jnp.take_along_axis(every, chosen[..., None], 1)
    return Beams(kept, scores), jnp.take_along_axis(filled, chosen, 1)


def reordered(rows: Any, parents: Array) -> Any:
    """Every leaf [B*K ...] with the rows of the parents [B K]."""
    count, beams = parents.shape
    at = (parents + jnp.arange(count)[:, None] * beams).reshape(-1)
    return jax.tree.map(lambda leaf: leaf[at], rows)
