"""Prompts and P-tuning: rows in front, padding, pooling, dropout, how they start."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax.models import bert, llama
from tl_jax.nn import layer_norm
from tl_jax.transfer import (
    chain,
    freeze,
    full,
    merge,
    p_tuning,
    partition,
    plain,
    prefix,
    prompt,
    stack_layers,
    trainable,
)
from tl_jax.tree import NoMatch, flatten, put

KEY = jax.random.key(0)
ROWS = np.array([[5, 9, 2, 7, 3], [4, 8, 6, 0, 0], [1, 0, 0, 0, 0]])
RIGHT = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]])
WORDS = dict(vocabulary=20, width=8, depth=2, heads=2, hidden=12)
NONE = dict(rate=0.0, attention_rate=0.0, head_rate=0.0)
MODELS = {
    "mean": bert(**WORDS, **NONE, positions=12),
    "pooler": bert(**WORDS, **NONE, positions=12, features="pooler"),
    "roberta": bert(**WORDS, **NONE, positions=12, types=0, padding_index=0),
    "llama": llama(**WORDS, kv_heads=1, over="sequence"),
}
METHODS = {
    "prompt": prompt(3, std=1.0),
    "p_tuning": p_tuning(3, hidden=4),
    "prefix": prefix(3, std=1.0),
    "shifted": prefix(3, hidden=4, shift=True),
    "both": chain(prompt(2, std=1.0), prefix(2, std=1.0), p_tuning(1)),
}


def base_of(name):
    """Random weights, positions that differ much."""
    params, stats = MODELS[name].init(jax.random.key(1))
    return full(jax.tree.map(lambda x: 3 * x, params), stats)


def run(name, params, inputs, **options):
    return MODELS[name].apply(params, {}, inputs, **options)[0]


CASES = [
    *(("mean", method) for method in METHODS),
    *(("pooler", "prompt"), ("pooler", "prefix"), ("roberta", "prompt")),
    *(("llama", "prompt"), ("llama", "shifted"), ("llama", "both")),
]


@pytest.mark.parametrize("name, method", CASES)
def test_rows_of_several_lengths_are_what_each_is_alone(name, method):
    """Behind padding on the right, and, where positions go by the mask, on the left."""
    plan = METHODS[method](KEY, base_of(name))
    first = run(name, plan.params, {"tokens": ROWS, "mask": RIGHT})
    bare = run(name, base_of(name).params, {"tokens": ROWS, "mask": RIGHT})
    assert first.tokens.shape == bare.tokens.shape == (3, 5, 8)
    assert np.abs(first.features - bare.features).max() > 1e-2
    wild = {"tokens": np.where(RIGHT, ROWS, 7 * (name != "roberta")), "mask": RIGHT}
    close = dict(rtol=1e-4, atol=1e-5)
    found = run(name, plan.params, wild).features
    np.testing.assert_allclose(found, first.features, **close)
    alone = run(name, plan.params, {"tokens": ROWS[1:2, :3]}).features
    np.testing.assert_allclose(alone, first.features[1:2], **close)
    if name in ("llama", "roberta"):
        left = {"tokens": ROWS[:, ::-1], "mask": RIGHT[:, ::-1]}
        alone = run(name, plan.params, {"tokens": ROWS[1:2, 2::-1]}).features
        found = run(name, plan.params, left).features
        np.testing.assert_allclose(found[1:2], alone, **close)


def test_bert_reads_a_prompt_as_the_words_it_is_made_of():
    """A prompt of two words' rows is a row with these words in front."""
    plan = prompt(2, init="text", ids=(11, 12))(KEY, base_of("mean"))
    longer = np.concatenate([np.tile([11, 12], (3, 1)), ROWS], axis=1)
    seen = np.concatenate([np.ones((3, 2), int), RIGHT], axis=1)
    found = run("mean", plan.params, {"tokens": ROWS, "mask": RIGHT})
    wanted = run("mean", base_of("mean").params, {"tokens": longer, "mask": seen})
    np.testing.assert_allclose(found.tokens, wanted.tokens[:, 2:], rtol=1e-5, atol=1e-5)


def test_llama_reads_a_prompt_as_the_words_it_is_made_of():
    plan = prompt(2, init="text", ids=(11, 12))(KEY, base_of("llama"))
    longer = np.concatenate([np.tile([11, 12], (3, 1)), ROWS], axis=1)
    seen = np.concatenate([np.ones((3, 2), int), RIGHT], axis=1)
    found = run("llama", plan.params, {"tokens": ROWS, "mask": RIGHT})
    wanted = run("llama", base_of("llama").params, {"tokens": longer, "mask": seen})
    np.testing.assert_allclose(found.features, wanted.features, rtol=1e-5, atol=1e-5)


def test_the_first_state_is_the_norm_of_word_position_and_type():
    plan = prompt(2, std=1.0)(KEY, base_of("mean"))
    embed = plan.params["embed"]
    found = run("mean", plan.params, {"tokens": ROWS}).hidden[0]
    at = embed["positions"]["embedding"][2:7] + embed["types"]["embedding"][0]
    want = layer_norm(embed["norm"], embed["tokens"]["embedding"][ROWS] + at, 1e-12)
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6)


def test_prompts_start_as_they_are_told_to():
    plan = base_of("mean")
    table = np.asarray(plan.params["embed"]["tokens"]["embedding"])

    def start(**how):
        return np.asarray(
            prompt(5, **how)(KEY, plan).params["embed"]["patch"]["prompt"].tokens
        )

    drawn = start(init="vocabulary", among=3)
    rows = [np.flatnonzero((table == row).all(1)) for row in drawn]
    assert all(len(found) == 1 and found[0] < 3 for found in rows)
    np.testing.assert_array_equal(
        start(init="text", ids=(7, 2)), table[[7, 2, 7, 2, 7]]
    )
    told = dict(
        init="text", text="b a", tokenize=lambda t: [ord(c) - 97 for c in t[::2]]
    )
    np.testing.assert_array_equal(start(**told), table[[1, 0, 1, 0, 1]])
    assert np.abs(start(std=0.01)).max() <= 0.02
    np.testing.assert_array_equal(start(), start())


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_gradients_reach_the_method_alone(method):
    plan = chain(freeze(".*"), method)(KEY, base_of("mean"))
    train, frozen = partition(plan.params, trainable(plan.rates))

    def loss(train):
        inputs = {"tokens": ROWS, "mask": RIGHT}
        return run("mean", merge(train, frozen), inputs).features[:, 0].sum()

    grads = flatten(jax.grad(loss)(train))
    assert set(grads) == {p for p in flatten(plan.params) if "patch/" in p}
    assert all(np.abs(g).max() > 0 for g in grads.values())


@pytest.mark.parametrize("method", ["p_tuning", "shifted", "both"])
def test_plain_is_the_same_function_without_its_makers(method):
    plan = chain(freeze(".*"), METHODS[method])(KEY, base_of("mean"))
    made, inputs = plain(plan), {"tokens": ROWS, "mask": RIGHT}
    assert "patch" in plan.params
    assert "patch" not in made.params
    assert jax.tree.structure(made.params) == jax.tree.structure(made.rates)
    rates = {r for p, r in flatten(made.rates).items() if "patch/" in p}
    assert rates == {1.0}
    found = run("mean", made.params, inputs).tokens
    wanted = run("mean", plan.params, inputs).tokens
    np.testing.assert_array_equal(found, wanted)
    joined = run("mean", stack_layers(plan).params, inputs).tokens
    np.testing.assert_allclose(joined, wanted, rtol=1e-4, atol=1e-5)
    assert plain(made) == made


def test_prompts_of_several_runs_at_once():
    """Stacked prompts under vmap are what each is alone."""
    plans = [prompt(2, std=1.0)(jax.random.key(i), base_of("mean")) for i in range(3)]
    at, inputs = "embed/patch/prompt", {"tokens": ROWS, "mask": RIGHT}
    own = [plan.params["embed"]["patch"]["prompt"] for plan in plans]
    many = jax.tree.map(lambda *x: jnp.stack(x), *own)

    def one(patch):
        return run("mean", put(plans[0].params, at, patch), inputs).features

    for i, found in enumerate(jax.vmap(one)(many)):
        np.testing.assert_allclose(found, one(own[i]), rtol=1e-4, atol=1e-5)


def test_a_prompt_is_dropped_only_where_there_is_a_key():
    plan = prompt(4, std=1.0, rate=0.5)(KEY, base_of("mean"))
    whole = put(plan.params, "embed/patch", {})
    same = prompt(4, std=1.0)(KEY, base_of("mean")).params
    inputs = {"tokens": ROWS, "mask": RIGHT}
    found = run("mean", plan.params, inputs).features
    np.testing.assert_array_equal(found, run("mean", same, inputs).features)
    keys = [run("mean", plan.params, inputs, key=jax.random.key(i)) for i in (1, 2)]
    assert np.abs(keys[0].features - keys[1].features).max() > 1e-3
    bare = [run("mean", whole, inputs, key=jax.random.key(i)) for i in (1, 2)]
    np.testing.assert_array_equal(bare[0].features, bare[1].features)


def test_too_many_words_are_told():
    """Positions end at 12: 5 of the row, 8 in front."""
    inputs = {"tokens": ROWS}
    with pytest.raises(ValueError, match="13 tokens in a row, but positions for 12"):
        run("mean", prompt(8)(KEY, base_of("mean")).params, inputs)
    shifted = prefix(8, shift=True)(KEY, base_of("mean"))
    with pytest.raises(ValueError, match="moved up by 8, but positions for 12"):
        run("mean", shifted.params, inputs)


@pytest.mark.parametrize(
    "make, told",
    [
        (lambda: prompt(0), "prompt: length is 0"),
        (lambda: prompt(2, init="vocab"), "nearest: vocabulary"),
        (lambda: prompt(2, init="text"), "expected one of them"),
        (lambda: prompt(2, init="text", text="a"), "needs tokenize"),
        (lambda: prompt(2, text="a"), "text is given, but init is 'random'"),
        (lambda: prompt(2, among=3), "among is 3 with init 'random'"),
        (lambda: prompt(2, rate=1.0), "prompt: rate is 1.0"),
        (lambda: prefix(2, hidden=0), "prefix: hidden is 0"),
        (lambda: p_tuning(2, form="gru"), "'gru' matches nothing"),
        (lambda: p_tuning(2, layers=0), "p_tuning: layers is 0"),
        (lambda: prompt(2, init="text", ids=(20,)), "ids has 20, expected 0 to 19"),
        (lambda: prompt(2, init="vocabulary", among=21), "among has 20, expected 0"),
        (lambda: p_tuning(2, where="embd"), "nearest: embed"),
        (lambda: p_tuning(2, where="norm_x"), "'norm_x' matches nothing"),
        (lambda: chain(prompt(2), prompt(2)), "'embed/patch/prompt' is taken"),
        (lambda: chain(prefix(2), prefix(2, hidden=3)), "attention/patch/prefix' is"),
        (lambda: chain(prompt(2, name="p_tuning"), p_tuning(2)), "p_tuning' is taken"),
    ],
)
def test_bad_arguments_are_told(make, told):
    with pytest.raises((ValueError, NoMatch), match=told):
        make()(KEY, base_of("mean"))
