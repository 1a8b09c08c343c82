"""Causal models with a cache: token by token is a row at once, patches and all."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from causal_patches import PATCHES

from tl_jax import pretrained
from tl_jax import transfer as t
from tl_jax.generation import beam_search, greedy, sample
from tl_jax.models import gpt2, llama

LENGTH, END = 5, 22
SIZES = dict(vocabulary=23, width=16, depth=2, heads=4, hidden=24)
MODELS = {
    "llama": llama(**SIZES, kv_heads=2, tied=True),
    "gpt2": gpt2(**SIZES, positions=40),
}
TOKENS = np.random.default_rng(0).integers(1, 22, (3, 6)).astype(np.int32)
MASKS = {
    "right": np.arange(6)[None] < np.array([[6], [3], [4]]),
    "left": np.arange(6)[None] >= np.array([[0], [3], [2]]),
}


def made(model, transfer):
    params, _ = jax.jit(model.init)(jax.random.key(0))
    rng = np.random.default_rng(1)
    params = jax.tree.map(
        lambda leaf: leaf + 0.3 * rng.normal(size=leaf.shape).astype(np.float32), params
    )
    return transfer(jax.random.key(2), t.full(params)).params


@partial(jax.jit, static_argnums=0)
def at_once(apply, params, inputs):
    return apply(params, {}, inputs)[0].logits


@partial(jax.jit, static_argnums=0)
def with_cache(decoder, params, inputs, tokens):
    """[B T V] of given tokens behind a start, under a scan."""
    first, cache = decoder.start(params, inputs, tokens.shape[1])

    def step(cache, token):
        logits, cache = decoder.step(params, cache, token)
        return cache, logits

    _, rest = jax.lax.scan(step, cache, tokens.T)
    return jnp.concatenate([first[:, None], rest.swapaxes(0, 1)], 1)


CASES = [("llama", patch) for patch in PATCHES]
CASES += [("gpt2", p) for p in ("none", "prefix_network", "prompt", "chain")]


@pytest.mark.parametrize("name, patch", CASES)
def test_token_by_token_is_a_row_at_once(name, patch):
    """Every logit behind the first words, padding on either side."""
    model = MODELS[name]
    params = made(model, PATCHES[patch])
    more = np.random.default_rng(3).integers(1, 22, (3, LENGTH)).astype(np.int32)
    for mask in MASKS.values():
        own = {"tokens": TOKENS * mask, "mask": mask}
        got = with_cache(model.decode, params, own, more)
        whole = {
            "tokens": np.concatenate([own["tokens"], more], 1),
            "mask": np.concatenate([mask, np.ones_like(more, bool)], 1),
        }
        want = at_once(model.apply, params, whole)
        last = 5 - np.argmax(mask[:, ::-1], 1)
        want = np.concatenate([want[np.arange(3), last][:, None], want[:, 6:]], 1)
        np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-5)
        plain = at_once(model.apply, made(model, PATCHES["none"]), whole)
        far = np.abs(plain[:, 6:] - want[:, 1:]).max()
        assert (far > 1e-2) == (patch != "none")


def rewritten(apply, params, inputs, length):
    """Greedy without a cache: the whole row again for every token."""
    count = inputs["tokens"].shape[1]
    room = ((0, 0), (0, length))
    tokens, mask = (np.pad(inputs[name], room) for name in ("tokens", "mask"))
    rows, done = [], np.zeros(len(tokens), bool)
    for at in range(count, count + length):
        logits = at_once(apply, params, {"tokens": tokens, "mask": mask})
        last = mask.shape[1] - 1 - np.argmax(mask[:, ::-1], 1)
        best = np.asarray(logits)[np.arange(len(last)), last].argmax(-1)
        rows.append(np.where(done, 0, best))
        done |= best == END
        tokens[:, at], mask[:, at] = best, True
    return np.stack(rows, 1)


@pytest.mark.parametrize("name", MODELS)
def test_greedy_is_the_row_written_again_and_again(name):
    model = MODELS[name]
    params = made(model, PATCHES["chain"])
    for mask in MASKS.values():
        inputs = {"tokens": TOKENS * mask, "mask": mask}
        got = greedy(model.decode, params, inputs, 6, end=END)
        np.testing.assert_array_equal(got, rewritten(model.apply, params, inputs, 6))
    assert len(np.unique(got)) > 1


def test_stacked_blocks_write_the_same():
    model = MODELS["llama"]
    params = made(model, PATCHES["lora"])
    stacked = t.stack_layers(t.full(params)).params
    assert set(stacked["blocks"]) == {"0-1"}
    inputs = {"tokens": TOKENS}
    found = [greedy(model.decode, p, inputs, 4, end=END) for p in (params, stacked)]
    np.testing.assert_array_equal(*found)


def test_one_beam_is_greedy_and_more_are_as_likely():
    model = MODELS["llama"]
    params, inputs = made(model, PATCHES["prefix"]), {"tokens": TOKENS}
    how = dict(end=END)
    want = greedy(model.decode, params, inputs, LENGTH, **how)
    one = beam_search(model.decode, params, inputs, LENGTH, beams=1, **how)
    np.testing.assert_array_equal(one.tokens[:, 0], want)
    more = beam_search(model.decode, params, inputs, LENGTH, beams=3, **how)
    assert (more.scores[:, 0] >= one.scores[:, 0] - 1e-5).all()


def drawn(count=3, **how):
    model = MODELS["llama"]
    params, keys = made(model, PATCHES["none"]), jax.random.split(jax.random.key(7), 3)
    inputs, keys = {"tokens": TOKENS[:count]}, keys[:count]
    settings = dict(keys=keys, end=END) | how
    return np.asarray(sample(model.decode, params, inputs, 8, **settings))


def test_draws_are_of_the_row_alone_and_repeat():
    all_rows = drawn(temperature=2.0)
    np.testing.assert_array_equal(all_rows, drawn(temperature=2.0))
    np.testing.assert_array_equal(all_rows[:2], drawn(2, temperature=2.0))
    other = drawn(temperature=2.0, keys=jax.random.split(jax.random.key(8), 3))
    assert (all_rows != other).any()


def test_cold_draws_are_greedy():
    model = MODELS["llama"]
    params = made(model, PATCHES["none"])
    want = greedy(model.decode, params, {"tokens": TOKENS}, 8, end=END)
    for how in (dict(temperature=1e-4), dict(top_k=1), dict(top_p=1e-6)):
        np.testing.assert_array_equal(drawn(**how), want)


def test_a_body_writes_nothing():
    model = llama(**SIZES)
    params, _ = model.init(jax.random.key(0))
    del params["head"]
    with pytest.raises(ValueError, match="no head that scores the vocabulary"):
        greedy(model.decode, params, {"tokens": TOKENS}, 2, end=0)


def test_segments_do_not_see_each_other():
    """Two texts in a row are the two alone, with a prefix and a prompt in front."""
    model = MODELS["llama"]
    for patch in ("none", "prefix", "prompt"):
        params = made(model, PATCHES[patch])
        parts = np.array([[1, 1, 2, 2, 2, 2]] * 3)
        both = model.apply(params, {}, {"tokens": TOKENS, "segments": parts})[0]
        for own in (slice(0, 2), slice(2, 6)):
            alone = model.apply(params, {}, {"tokens": TOKENS[:, own]})[0]
            np.testing.assert_allclose(
                both.logits[:, own], alone.logits, rtol=2e-4, atol=2e-5
            )


@pytest.mark.parametrize(
    "name", ["gpt2_words", "gpt2_untied", "llama_words", "llama_tied", "llama_scaled"]
)
def test_what_transformers_writes(name, golden):
    """Recorded: `generate` behind rows that are padded on the left."""
    with np.load(golden / "written.npz") as file:
        own = {n: file[f"{name}/{n}"] for n in ("tokens", "mask", "written")}
    found = pretrained.load(golden / name.split("_")[0] / name)
    want, inputs = own["written"], {n: own[n] for n in ("tokens", "mask")}
    got = greedy(found.model.decode, found.params, inputs, want.shape[1], end=2)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parity
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_greedy_live(family, tmp_path):
    import record_gpt2
    import record_llama

    record = {"gpt2": record_gpt2, "llama": record_llama}[family]
    kind = {"gpt2": "GPT2LMHeadModel", "llama": "LlamaForCausalLM"}[family]
    model, inputs = record.make(kind, {}, 11), record_gpt2.prompts_for(11)
    model.save_pretrained(tmp_path)
    found = pretrained.load(tmp_path)
    want = record_gpt2.written(model, inputs, 12)
    got = greedy(found.model.decode, found.params, inputs, 12, end=2)
    np.testing.assert_array_equal(got, want)
