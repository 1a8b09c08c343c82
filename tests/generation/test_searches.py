"""Greedy and beam search: against transformers, a loop, and all sequences there are."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax import pretrained
from tl_jax.generation import beam_search, greedy
from tl_jax.tree import NoMatch
from tl_jax.types import Cache, Decoder

LENGTH, END = 12, 1
BEAMS = {
    "beams": dict(beams=4),
    "longer": dict(beams=4, penalty=2.0),
    "shorter": dict(beams=3, penalty=-1.0),
    "early": dict(beams=4, stopping=True),
    "never": dict(beams=4, stopping="never", penalty=0.5),
}


def cut(row) -> list[int]:
    """A row up to its first end: what stands behind is padding, of either kind."""
    row = np.asarray(row).tolist()
    return row[: row.index(END) + 1] if END in row else row


def written(decoder, params, inputs, how=None):
    """[B LENGTH], greedy or the best of beams, compiled."""

    def run(params, inputs):
        if how is None:
            return greedy(decoder, params, inputs, LENGTH, end=END)
        return beam_search(decoder, params, inputs, LENGTH, end=END, **how)

    return jax.jit(run)(params, inputs)


def recorded(golden, name):
    with np.load(golden / "t5.npz") as file:
        own = {key: file[key] for key in file if key.startswith(f"{name}/")}
    own = {key.removeprefix(f"{name}/"): value for key, value in own.items()}
    return pretrained.load(golden / "t5" / name), own


@pytest.mark.parametrize("name", ["t5_tied", "t5_gated"])
def test_what_transformers_writes(name, golden):
    found, own = recorded(golden, name)
    inputs = {key: own[key] for key in ("tokens", "mask")}
    decoder, seen = found.model.decode, set()
    for search, how in {"greedy": None, **BEAMS}.items():
        got = written(decoder, found.params, inputs, how)
        rows = got if how is None else got.tokens[:, 0]
        want = [cut(row) for row in own[f"generated/{search}"]]
        assert [cut(row) for row in rows] == want, search
        seen.add(str(want))
    assert len(seen) > 3


def test_one_beam_is_greedy_and_scores_are_mean_log_probabilities(golden):
    found, own = recorded(golden, "t5_tied")
    inputs = {key: own[key] for key in ("tokens", "mask")}
    plain = written(found.model.decode, found.params, inputs)
    one = written(found.model.decode, found.params, inputs, dict(beams=1))
    four = written(found.model.decode, found.params, inputs, dict(beams=4))
    for b, row in enumerate(plain):
        assert cut(row) == cut(one.tokens[b, 0])
    assert (np.diff(four.scores, axis=1) <= 0).all()
    for b, k in itertools.product(range(3), range(4)):
        row = np.array(cut(four.tokens[b, k]))
        shifted = np.concatenate([[0], row[:-1]])[None]
        asked = {key: value[b : b + 1] for key, value in inputs.items()}
        asked["decoder_tokens"] = shifted
        logits = found.model.apply(found.params, {}, asked)[0].logits[0]
        logp = np.asarray(jax.nn.log_softmax(logits))[np.arange(len(row)), row]
        np.testing.assert_allclose(four.scores[b, k], logp.mean(), rtol=1e-4)


WORDS = 4


def chain(seed: int):
    """A decoder whose next word depends on the last two, and log p by these."""
    logits = 2 * np.random.default_rng(seed).normal(size=(WORDS, WORDS, WORDS))
    logp = jax.nn.log_softmax(jnp.asarray(logits, jnp.float32))

    def start(params, inputs, length):
        count = len(inputs["tokens"])
        first = jnp.broadcast_to(params[0, 0], (count, WORDS))
        return first, Cache(jnp.zeros(count, jnp.int32), jnp.int32(0))

    def step(params, cache, tokens):
        moved = Cache(tokens, cache.shared + 1)
        return params[cache.rows, tokens], moved

    return Decoder(start, step), logp


def every(logp, length: int, penalty: float) -> list:
    """All sequences that end or are full, with their scores, the best first."""
    found = {}
    for row in itertools.product(range(WORDS), repeat=length):
        row = tuple(cut(row))
        before = (0, 0, *row)
        total = sum(logp[before[i], before[i + 1], w] for i, w in enumerate(row))
        found[row] = float(total) / len(row) ** penalty
    return sorted(found.items(), key=lambda item: -item[1])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("penalty", [0.0, 1.0, -0.5])
def test_wide_beams_find_the_best_of_all(seed, penalty):
    """As many beams as there are unfinished sequences: nothing is lost."""
    decoder, logp = chain(seed)
    how = dict(beams=27, end=END, penalty=penalty, stopping="never")
    run = partial(beam_search, decoder, length=4, **how)
    got = jax.jit(run)(logp, {"tokens": jnp.zeros((2, 1))})
    best = every(np.asarray(logp), 4, penalty)
    for b in range(2):
        assert tuple(cut(got.tokens[b, 0])) == best[0][0]
        np.testing.assert_allclose(got.scores[b, 0], best[0][1], rtol=1e-5)


def test_searches_of_a_chain_by_loops():
    decoder, logp = chain(5)
    row, last = [], (0, 0)
    while len(row) < 6 and END not in row:
        row.append(int(np.argmax(logp[last])))
        last = (last[1], row[-1])
    inputs = {"tokens": jnp.zeros((1, 1))}
    got = greedy(decoder, logp, inputs, 6, end=END, pad=3)
    assert got[0].tolist() == row + [3] * (6 - len(row))


def test_bad_settings():
    decoder, logp = chain(0)
    run = partial(beam_search, decoder, logp, {"tokens": jnp.zeros((1, 1))}, end=END)
    with pytest.raises(ValueError, match="length 0 and beams 2, expected 1 or more"):
        run(0, beams=2)
    with pytest.raises(NoMatch, match="stopping 'nver' matches nothing; nearest: nev"):
        run(3, beams=2, stopping="nver")
    with pytest.raises(ValueError, match="length is 0"):
        greedy(decoder, logp, {"tokens": jnp.zeros((1, 1))}, 0, end=END)
