"""Strict loading: every tensor, every setting and every option is accounted for."""

import json

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from bert_folders import QUERY, equal

from tl_jax import pretrained, tree
from tl_jax.pretrained import files


def rename(change):
    def apply(arrays):
        return {change(name): array for name, array in arrays.items()}

    return apply


def test_kernels_are_transposed_and_float32(golden, tiny_bert):
    arrays = dict(files.read(files.scan(golden / "bert/bert_model")))
    kernel = tiny_bert.params["blocks"]["0"]["attention"]["query"]["kernel"]
    np.testing.assert_array_equal(kernel, arrays[QUERY].T)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(tiny_bert.params))


def test_source_says_what_was_omitted(tiny_bert, golden):
    source = tiny_bert.source
    assert source["spec"] == str(golden / "bert/bert_model")
    assert len(source["hash"]) == 64
    assert set(source["omitted"]) == {"pooler.dense.weight", "pooler.dense.bias"}
    json.dumps(dict(source))


def test_pooler_is_a_leaf_if_it_is_read(golden):
    found = pretrained.load(golden / "bert/bert_model", features="pooler")
    assert found.source["omitted"] == {}
    assert "pooler" in found.params


def test_every_misfit_is_listed_at_once(edited):
    def spoil(arrays):
        arrays["encoder.layer.0.attention.self.qery.weight"] = arrays.pop(QUERY)
        arrays["embeddings.LayerNorm.bias"] = np.zeros(17, np.float32)
        arrays["classifier.bias"] = np.zeros(2, np.float32)

    with pytest.raises(pretrained.Misfit) as error:
        pretrained.load(edited("bert_model", spoil))
    text = str(error.value)
    assert "missing (1):" in text
    assert f"{QUERY} (blocks/0/attention/query/kernel) [16 16] nearest: enc" in text
    assert "unexpected (2):" in text
    assert "classifier.bias [2]" in text
    assert "wrong shape (1):" in text
    assert "embeddings.LayerNorm.bias [17] expected [16] for embed/norm/bias" in text


def test_long_lists_are_cut(edited):
    with pytest.raises(pretrained.Misfit, match="and 25 more") as error:
        pretrained.load(edited("bert_model", lambda a: {"x": np.zeros(1, np.float32)}))
    assert len(str(error.value).splitlines()) < 20


def test_integers_are_no_weights(edited):
    def spoil(arrays):
        arrays[QUERY] = arrays[QUERY].astype(np.int32)

    with pytest.raises(pretrained.Misfit, match=r"query\.weight is I32"):
        pretrained.load(edited("bert_model", spoil))


@pytest.mark.parametrize(
    "change",
    [
        lambda name: f"bert.{name}",
        lambda name: name.replace("Norm.weight", "Norm.gamma").replace(
            "Norm.bias", "Norm.beta"
        ),
    ],
)
def test_prefix_and_old_names(change, edited, tiny_bert):
    found = pretrained.load(edited("bert_model", rename(change)))
    assert equal(found.params, tiny_bert.params)


def test_a_tensor_under_two_names_raises(edited):
    def twice(arrays):
        arrays[f"bert.{QUERY}"] = arrays[QUERY]

    with pytest.raises(pretrained.Misfit, match="twice"):
        pretrained.load(edited("bert_model", twice))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_other_floats_become_float32(dtype, edited):
    def cast(arrays):
        return {name: array.astype(dtype) for name, array in arrays.items()}

    folder = edited("bert_model", cast)
    leaf = pretrained.load(folder).params["embed"]["tokens"]["embedding"]
    stored = dict(files.read(files.scan(folder)))["embeddings.word_embeddings.weight"]
    assert leaf.dtype == jnp.float32
    np.testing.assert_array_equal(leaf, stored.astype(np.float32))


def test_buffers_are_omitted(edited):
    def add(arrays):
        arrays["embeddings.position_ids"] = np.arange(24)[None]

    found = pretrained.load(edited("bert_model", add))
    assert "embeddings.position_ids" in found.source["omitted"]


def test_dropped_head(golden, tokens):
    found = pretrained.load(golden / "bert/bert_words", head="drop", over="tokens")
    assert "head" not in found.params
    dropped = [n for n, why in found.source["omitted"].items() if "dropped" in why]
    assert sorted(dropped) == [
        "cls.predictions.bias",
        "cls.predictions.transform.LayerNorm.bias",
        "cls.predictions.transform.LayerNorm.weight",
        "cls.predictions.transform.dense.bias",
        "cls.predictions.transform.dense.weight",
    ]
    head = {"kernel": jnp.ones((16, 4)), "bias": jnp.zeros(4)}
    out, _ = jax.eval_shape(
        found.model.apply, found.params | {"head": head}, {}, tokens
    )
    assert out.logits.shape == (3, 11, 4)


def test_next_sentence_head_is_omitted(edited, golden):
    def add(arrays):
        arrays["cls.seq_relationship.weight"] = np.zeros((2, 16), np.float32)
        arrays["cls.seq_relationship.bias"] = np.zeros(2, np.float32)

    found = pretrained.load(
        edited("bert_words", add, architectures=["BertForPreTraining"])
    )
    assert "cls.seq_relationship.bias" in found.source["omitted"]
    assert equal(found.params, pretrained.load(golden / "bert/bert_words").params)


WORDS = "bert.embeddings.word_embeddings.weight"
DECODER = "cls.predictions.decoder.weight"


def test_tied_output_may_be_stored_twice_or_elsewhere(edited, golden, tmp_path):
    expected = pretrained.load(golden / "bert/bert_words").params

    def twice(arrays):
        arrays[DECODER] = arrays[WORDS]
        arrays["cls.predictions.decoder.bias"] = arrays["cls.predictions.bias"]

    folder = edited("bert_words", twice)
    assert equal(pretrained.load(folder).params, expected)
    arrays = dict(files.read(files.scan(folder)))
    for name in (WORDS, "cls.predictions.bias"):
        arrays = {k: v.copy() for k, v in arrays.items() if k != name}
    files.write(arrays, folder / files.WEIGHTS)
    assert equal(pretrained.load(folder).params, expected)


def test_untied_output_raises_unless_it_is_dropped(edited):
    def untie(arrays):
        arrays[DECODER] = arrays[WORDS] + 1

    folder = edited("bert_words", untie, tie_word_embeddings=False)
    with pytest.raises(pretrained.Misfit, match=r"decoder.*head='drop'"):
        pretrained.load(folder)
    assert DECODER in pretrained.load(folder, head="drop").source["omitted"]


def test_untied_output_must_be_there(edited):
    folder = edited("bert_words", tie_word_embeddings=False)
    with pytest.raises(pretrained.Misfit, match=DECODER):
        pretrained.load(folder)


@pytest.mark.parametrize(
    "field, value, text",
    [
        ("model_type", "albert", "nearest|known: bert"),
        ("model_type", ..., "model_type is None"),
        ("hidden_act", "gelu_nwe", "nearest: gelu_new"),
        ("position_embedding_type", "relative_key", "supported is 'absolute' or None"),
        ("is_decoder", True, "is_decoder is True"),
        ("pruned_heads", {"0": [1]}, "pruned_heads"),
        ("num_attention_heads", 3, "no multiple of num_attention_heads 3"),
        ("num_attention_heads", ..., "num_attention_heads is nothing"),
        ("hidden_size", "16", "hidden_size is '16'"),
        ("hidden_dropout_prob", 1.5, r"hidden_dropout_prob is 1.5"),
        ("architectures", ["BertForMultipleChoice"], "known: BertModel, BertFor"),
        ("architectures", "BertModel", "expected one name"),
    ],
)
def test_unsupported_settings_are_named(field, value, text, edited):
    with pytest.raises(pretrained.Unsupported, match=text) as error:
        pretrained.load(edited("bert_model", **{field: value}))
    assert field in str(error.value)


def test_roberta_masked_head_is_always_exact(edited):
    with pytest.raises(pretrained.Unsupported, match="always computes 'gelu'"):
        pretrained.load(edited("roberta_words", hidden_act="relu"))


def test_settings_reach_the_model(golden, edited):
    options = pretrained.load(golden / "bert/distilbert_sequence").source["options"]
    assert options["head_rate"] == 0.2
    assert options["features"] == "cls"
    folder = edited("bert_sequence", classifier_dropout=0.3)
    assert pretrained.load(folder).source["options"]["head_rate"] == 0.3
    found = pretrained.load(folder, head_rate=0.0, rate=0.25).source["options"]
    assert (found["head_rate"], found["rate"]) == (0.0, 0.25)


@pytest.mark.parametrize(
    "name, options, text",
    [
        ("bert_sequence", {"features": "mean"}, "reads 'pooler'"),
        ("bert_sequence", {"over": "tokens"}, "reads 'sequence'"),
        ("distilbert_words", {"features": "pooler"}, "has no pooler"),
        ("bert_model", {"feature": "cls"}, "nearest: features"),
        ("bert_model", {"features": "max"}, "known: mean, cls, pooler"),
        ("bert_model", {"head": "remove"}, "known: keep, drop"),
    ],
)
def test_options_that_contradict_raise(name, options, text, golden):
    with pytest.raises(ValueError, match=text):
        pretrained.load(golden / "bert" / name, **options)


def test_pooler_that_is_not_there_is_missing(golden):
    with pytest.raises(pretrained.Misfit, match=r"pooler.dense.weight \(pooler/kernel"):
        pretrained.load(golden / "bert/bert_tokens", features="pooler")


@pytest.mark.parametrize("mode, found", [("mean_tokens", "mean"), ("cls_token", "cls")])
def test_sentence_models_say_their_features(mode, found, edited):
    folder = edited("bert_model")
    (folder / "1_Pooling").mkdir()
    text = json.dumps({f"pooling_mode_{mode}": True, "pooling_mode_max_tokens": False})
    (folder / "1_Pooling/config.json").write_text(text)
    assert pretrained.load(folder).source["options"]["features"] == found
    text = json.dumps({"pooling_mode_max_tokens": True})
    (folder / "1_Pooling/config.json").write_text(text)
    with pytest.raises(pretrained.Unsupported, match="pooling_mode_max_tokens is set"):
        pretrained.load(folder)
    assert pretrained.load(folder, features="mean").source


@pytest.mark.parametrize("name", ["bert_words", "roberta_sequence", "distilbert_words"])
def test_rules_cover_every_leaf_once(name, golden):
    config = files.read_config(golden / "bert" / name)
    from tl_jax.pretrained.loading import recipe_of

    recipe = recipe_of(config)
    ours = [n.ours for n in recipe.layout.names]
    theirs = [n.theirs for n in recipe.layout.names]
    assert sorted(ours) == sorted(recipe.leaves)
    assert len(set(ours)) == len(set(theirs)) == len(ours)
    params = pretrained.load(golden / "bert" / name).params
    shapes = {path: leaf.shape for path, leaf in tree.flatten(params).items()}
    assert shapes == recipe.leaves
