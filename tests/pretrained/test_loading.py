"""Strict loading: every tensor, every setting and every option is accounted for."""

import json

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from tl_jax import pretrained, tree
from tl_jax.pretrained import files

QUERY = "encoder.layer.0.attention.self.query.weight"


def equal(a, b) -> bool:
    same = jax.tree.map(lambda x, y: np.array_equal(x, y), a, b)
    return jax.tree.structure(a) == jax.tree.structure(b) and all(jax.tree.leaves(same))


def rename(change):
    def apply(arrays):
        return {change(name): array for name, array in arrays.items()}

    return apply


def shards(folder, count=3, **extra):
    """Cut model.safetensors into shards with an index; `extra` overrides entries."""
    arrays = dict(files.read(files.scan(folder)))
    (folder / files.WEIGHTS).rename(folder.parent / "whole")
    listed = {}
    for i in range(count):
        name = f"model-{i + 1:05}-of-{count:05}.safetensors"
        own = {k: arrays[k] for k in sorted(arrays)[i::count]}
        files.write(own, folder / name)
        listed |= dict.fromkeys(own, name)
    index = {"metadata": {}, "weight_map": listed | extra}
    (folder / files.INDEX).write_text(json.dumps(index))
    return folder


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


def test_shards_are_one_model(edited, tiny_bert):
    found = pretrained.load(shards(edited("bert_model")))
    assert equal(found.params, tiny_bert.params)
    assert found.source["hash"] == tiny_bert.source["hash"]


@pytest.mark.parametrize(
    "extra, text",
    [
        ({QUERY: "../whole"}, "leaves the folder"),
        ({QUERY: "/etc/passwd"}, "leaves the folder"),
        ({QUERY: "a\\b"}, "leaves the folder"),
        ({QUERY: ".."}, "leaves the folder"),
        ({QUERY: "model-9.safetensors"}, "model-9.safetensors, which is not there"),
        ({"ghost": "model-00001-of-00003.safetensors"}, "no shard holds ghost"),
    ],
)
def test_bad_indices_raise(extra, text, edited):
    with pytest.raises(pretrained.Damaged, match=text):
        pretrained.load(shards(edited("bert_model"), **extra))


@pytest.mark.parametrize(
    "spoil, text",
    [
        (lambda raw: raw[:-100], "truncated"),
        (lambda raw: raw[:40], "damaged"),
        (lambda raw: b"", "damaged"),
        (lambda raw: b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
    ],
)
def test_damaged_weights_name_the_file(spoil, text, edited):
    folder = edited("bert_model")
    file = folder / files.WEIGHTS
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(pretrained.Damaged, match=text) as error:
        pretrained.load(folder)
    assert str(file) in str(error.value)


@pytest.mark.parametrize("text", ['{"model_type": ', "[]", "\udcff"])
def test_damaged_config_names_the_file(text, edited):
    folder = edited("bert_model")
    (folder / files.CONFIG).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(pretrained.Damaged, match=r"config\.json"):
        pretrained.load(folder)


def test_absent_files_are_named(edited, tmp_path):
    folder = edited("bert_model")
    (folder / files.WEIGHTS).rename(folder / "pytorch_model.bin")
    with pytest.raises(pretrained.Damaged, match=r"pytorch_model\.bin is damaged"):
        pretrained.load(folder)
    (folder / "pytorch_model.bin").rename(folder / files.SHARDED)
    with pytest.raises(FileNotFoundError, match=r"bin\.index\.json.*alone"):
        pretrained.load(folder)
    (folder / files.SHARDED).unlink()
    with pytest.raises(FileNotFoundError, match=r"neither model\.safetensors nor"):
        pretrained.load(folder)
    (folder / files.CONFIG).unlink()
    with pytest.raises(FileNotFoundError, match=r"has no config\.json"):
        pretrained.load(folder)


@pytest.mark.parametrize("spec", ["./nowhere", "/no/where", "~/no", "a/b/c", "x y"])
def test_paths_that_do_not_exist_never_ask_a_hub(spec):
    with pytest.raises(pretrained.NotFound, match=r"does not exist.*minilm"):
        pretrained.load(spec)


def test_a_file_is_no_folder(golden):
    with pytest.raises(ValueError, match="give architecture=.*or give its folder"):
        pretrained.load(golden / "bert/bert_model/model.safetensors")
    with pytest.raises(pretrained.NotFound, match=r"no file of weights \(.*its folder"):
        pretrained.load(golden / "bert/bert_model/config.json")


def test_hub_that_does_not_answer(monkeypatch):
    hub = pytest.importorskip("huggingface_hub")

    def offline(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr(hub, "snapshot_download", offline)
    with pytest.raises(pretrained.NotFound, match="no route") as error:
        pretrained.load("minilm-l6")
    for part in ("config.json", "model.safetensors", "nearest asset: 'minilm'"):
        assert part in str(error.value)


def test_hub_that_is_not_installed(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(pretrained.NotFound, match="not installed"):
        pretrained.load("owner/name")


def test_hub_gives_only_safe_files(monkeypatch, golden, tiny_bert):
    hub = pytest.importorskip("huggingface_hub")
    asked = {}

    def give(spec, revision, allow_patterns):
        asked.update(spec=spec, revision=revision, files=allow_patterns)
        return str(golden / "bert/bert_model")

    monkeypatch.setattr(hub, "snapshot_download", give)
    found = pretrained.load("owner/name", revision="abc")
    assert equal(found.params, tiny_bert.params)
    assert (asked["spec"], asked["revision"]) == ("owner/name", "abc")
    assert not any(f.endswith((".bin", ".py", ".pt", "*")) for f in asked["files"])


def test_weights_do_not_hang_on_the_file(edited, tiny_bert):
    folder = edited("bert_model")
    found = pretrained.load(folder)
    file = folder / files.WEIGHTS
    with file.open("r+b") as raw:
        raw.write(b"\0" * file.stat().st_size)
    assert equal(found.params, tiny_bert.params)


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
