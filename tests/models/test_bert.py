"""The BERT family against transformers: recorded always, live with `-m parity`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sentences import SENTENCES

from tl_jax import pretrained, tree
from tl_jax.models import bert

NAMES = (
    "bert_model",
    "bert_sequence",
    "bert_tokens",
    "bert_answers",
    "bert_words",
    "roberta_sequence",
    "roberta_tokens",
    "roberta_words",
    "distilbert_sequence",
    "distilbert_answers",
    "distilbert_words",
)
TOLERANCE = 2e-5
BFLOAT16 = 2e-2
"""Largest difference of MiniLM's features in bfloat16, against float32."""


def apart(found, expected) -> float:
    """max|difference| / max|expected|."""
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def inputs_of(values: dict, name: str) -> dict:
    return {
        part: values[f"{name}/{part}"]
        for part in ("tokens", "mask", "types")
        if f"{name}/{part}" in values
    }


def run(found, inputs, **options):
    def apply(params, inputs):
        return found.model.apply(params, found.stats, inputs, **options)[0]

    return jax.jit(apply)(found.params, inputs)


def compare(outputs, expected: dict) -> None:
    """Logits and every hidden state, padding included."""
    count = sum(key.startswith("hidden") for key in expected)
    assert len(outputs.hidden) == count
    for i, state in enumerate(outputs.hidden):
        assert apart(state, expected[f"hidden/{i}"]) <= TOLERANCE
    assert (outputs.logits is None) == ("logits" not in expected)
    if "logits" in expected:
        assert apart(outputs.logits, expected["logits"]) <= TOLERANCE


@pytest.mark.parametrize("name", NAMES)
def test_recorded_outputs(name, golden, recorded):
    found = pretrained.load(golden / "bert" / name)
    outputs = run(found, inputs_of(recorded, name))
    own = {k.split("/", 1)[1]: v for k, v in recorded.items() if k.startswith(name)}
    compare(outputs, own)


def test_recorded_pooler(golden, recorded):
    found = pretrained.load(golden / "bert/bert_model", features="pooler")
    outputs = run(found, inputs_of(recorded, "bert_model"))
    assert apart(outputs.features, recorded["bert_model/pooler"]) <= TOLERANCE


@pytest.mark.parametrize("features", ["mean", "cls"])
def test_features_by_a_loop(features, golden, recorded, tokens):
    found = pretrained.load(golden / "bert/bert_model", features=features)
    outputs = run(found, tokens)
    last = recorded["bert_model/hidden/2"]
    for row, mask, state in zip(outputs.features, tokens["mask"], last, strict=True):
        shown = state[mask.astype(bool)] if features == "mean" else state[:1]
        np.testing.assert_allclose(row, shown.mean(0), atol=1e-5)


def test_mask_and_types_have_defaults(tiny_bert, tokens):
    plain = run(tiny_bert, {"tokens": tokens["tokens"]})
    ones, zeros = np.ones_like(tokens["mask"]), np.zeros_like(tokens["types"])
    given = run(tiny_bert, {**tokens, "mask": ones, "types": zeros})
    np.testing.assert_allclose(plain.features, given.features, atol=1e-6)


def test_padding_changes_nothing(tiny_bert, tokens):
    wide = run(tiny_bert, tokens).features[1:2]
    short = run(tiny_bert, {k: v[1:2, :7] for k, v in tokens.items()}).features
    np.testing.assert_allclose(wide, short, atol=1e-6)


def test_fully_padded_row_gives_no_nan(tiny_bert, tokens):
    inputs = {**tokens, "mask": np.zeros_like(tokens["mask"])}

    def value(params):
        return tiny_bert.model.apply(params, {}, inputs)[0].features.sum()

    result, grads = jax.jit(jax.value_and_grad(value))(tiny_bert.params)
    assert np.isfinite(result)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))


def test_dropout_needs_a_key(tiny_bert, tokens):
    @jax.jit
    def dropped(params, key):
        return tiny_bert.model.apply(params, {}, tokens, key=key)[0].features

    first, again = run(tiny_bert, tokens).features, run(tiny_bert, tokens).features
    one, same, other = (
        dropped(tiny_bert.params, jax.random.key(seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(one, same)
    assert apart(one, first) > 1e-2
    assert apart(one, other) > 1e-2


def test_rates_of_zero_drop_nothing(golden, tiny_bert, tokens):
    rates = dict(rate=0.0, attention_rate=0.0, head_rate=0.0)
    found = pretrained.load(golden / "bert/bert_model", **rates)
    dropped = run(found, tokens, key=jax.random.key(1))
    np.testing.assert_array_equal(dropped.features, run(tiny_bert, tokens).features)


def test_remat_changes_no_value_and_no_gradient(golden, tiny_bert, tokens):
    remat = pretrained.load(golden / "bert/bert_model", remat=True)

    def grads(found):
        def value(params):
            out, _ = found.model.apply(params, {}, tokens, key=jax.random.key(3))
            return jnp.square(out.features).sum()

        return jax.jit(jax.value_and_grad(value))(found.params)

    for a, b in zip(
        jax.tree.leaves(grads(tiny_bert)), jax.tree.leaves(grads(remat)), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_roberta_positions_count_token_ids():
    model = bert(
        vocabulary=9, width=4, depth=0, heads=1, hidden=4, positions=8, types=0,
        padding_index=1, rate=0.0,
    )  # fmt: skip
    params, _ = jax.jit(model.init)(jax.random.key(0))
    ids = np.array([[5, 1, 6, 7, 1]])
    by_hand = np.array([[2, 1, 3, 4, 1]])  # padding stays at 1, others count from 2
    table = np.asarray(params["embed"]["positions"]["embedding"])
    x = np.asarray(params["embed"]["tokens"]["embedding"])[ids] + table[by_hand]
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
    for mask in (np.ones_like(ids), np.array([[1, 1, 1, 0, 0]])):
        out, _ = jax.jit(model.apply)(params, {}, {"tokens": ids, "mask": mask})
        np.testing.assert_allclose(out.tokens, x, atol=1e-4)


@pytest.mark.parametrize("name, longest", [("bert_model", 24), ("roberta_words", 22)])
def test_more_tokens_than_positions_raise(name, longest, golden):
    found = pretrained.load(golden / "bert" / name)
    rows = {n: {"tokens": np.zeros((1, n), int)} for n in (longest, longest + 1)}
    jax.eval_shape(found.model.apply, found.params, {}, rows[longest])
    with pytest.raises(ValueError, match=f"{longest + 1} tokens.*for {longest}"):
        jax.eval_shape(found.model.apply, found.params, {}, rows[longest + 1])


def test_init_has_the_tree_of_the_file(tiny_bert):
    params, stats = jax.eval_shape(tiny_bert.model.init, jax.random.key(0))
    shapes = {path: leaf.shape for path, leaf in tree.flatten(params).items()}
    loaded = tree.flatten(tiny_bert.params)
    assert shapes == {path: leaf.shape for path, leaf in loaded.items()}
    assert stats == {}


def recorded_minilm(golden):
    with np.load(golden / "minilm.npz") as file:
        return dict(file)


def test_minilm_recorded(minilm, golden):
    expected = recorded_minilm(golden)
    inputs = {"tokens": expected["tokens"], "mask": expected["mask"]}
    outputs = run(minilm, inputs)
    assert apart(outputs.features, expected["features"]) <= TOLERANCE
    for i, state in enumerate(outputs.hidden):
        assert apart(state[..., :8], expected[f"hidden/{i}"]) <= TOLERANCE


def test_minilm_tokenizer_recorded(minilm, golden):
    expected = recorded_minilm(golden)
    for text, ids, mask in zip(
        SENTENCES, expected["tokens"], expected["mask"], strict=True
    ):
        assert minilm.tokenizer.encoder.encode(text).ids == ids[mask == 1].tolist()


def test_minilm_bfloat16(minilm, golden):
    expected = recorded_minilm(golden)
    inputs = {"tokens": expected["tokens"], "mask": expected["mask"]}
    short = pretrained.load(minilm.source["folder"], dtype=jnp.bfloat16)
    outputs = run(short, inputs)
    assert outputs.features.dtype == jnp.float32
    assert 1e-5 < apart(outputs.features, expected["features"]) <= BFLOAT16
