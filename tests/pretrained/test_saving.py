"""A saved tree is the file it came from, wherever nothing moved."""

import json

import jax
import ml_dtypes
import numpy as np
import pytest

from tl_jax import pretrained, tree
from tl_jax.pretrained import files

NAMES = (
    "bert_model",
    "bert_sequence",
    "bert_answers",
    "bert_words",
    "roberta_sequence",
    "roberta_words",
    "distilbert_sequence",
    "distilbert_words",
)
WORDS = "bert.embeddings.word_embeddings.weight"


def arrays_of(folder) -> dict:
    return dict(files.read(files.scan(folder)))


def assert_same_files(a, b) -> None:
    """Names, dtypes and bytes of every tensor."""
    first, second = arrays_of(a), arrays_of(b)
    assert first.keys() == second.keys()
    for name, array in first.items():
        assert array.dtype == second[name].dtype, name
        assert array.tobytes() == second[name].tobytes(), name


def moved(found):
    """As if trained: every leaf by a little that short floats cannot hold."""
    params = jax.tree.map(lambda leaf: leaf + 1.0001e-4, found.params)
    return found._replace(params=params)


def with_head(found, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    width = found.model.width
    kernel = rng.normal(size=(width, classes)).astype(np.float32)
    head = {"kernel": kernel, "bias": np.zeros(classes, np.float32)}
    return found._replace(params=found.params | {"head": head})


@pytest.mark.parametrize("name", NAMES)
def test_round_trip_is_equal_to_the_byte(name, golden, tmp_path):
    folder = golden / "bert" / name
    found = pretrained.load(folder)
    path = pretrained.save(tmp_path / "deep" / "saved", found)
    assert_same_files(folder, path)
    assert files.read_config(path) == files.read_config(folder)
    again = pretrained.load(path)
    assert again.source["hash"] == found.source["hash"]
    assert [p.name for p in path.parent.iterdir()] == ["saved"]


def test_odd_names_copies_and_buffers_come_back(edited, tmp_path):
    def make_odd(arrays):
        arrays["cls.predictions.decoder.weight"] = arrays[WORDS]
        arrays["bert.embeddings.position_ids"] = np.arange(24)[None]
        arrays["bert.pooler.dense.weight"] = np.ones((16, 16), np.float32)
        arrays["bert.pooler.dense.bias"] = np.ones(16, np.float32)
        old = arrays.pop("bert.embeddings.LayerNorm.weight")
        arrays["bert.embeddings.LayerNorm.gamma"] = old

    folder = edited("bert_words", make_odd)
    found = pretrained.load(folder)
    assert_same_files(folder, pretrained.save(tmp_path / "saved", found))
    trained = pretrained.save(tmp_path / "moved", moved(found))
    arrays = arrays_of(trained)  # the copy moves with its original
    np.testing.assert_array_equal(
        arrays["cls.predictions.decoder.weight"], arrays[WORDS]
    )
    np.testing.assert_array_equal(
        arrays[WORDS], moved(found).params["embed"]["tokens"]["embedding"]
    )


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_short_floats_stay_until_they_would_lose(dtype, edited, tmp_path):
    def cast(arrays):
        return {name: array.astype(dtype) for name, array in arrays.items()}

    folder = edited("bert_model", cast, dtype=np.dtype(dtype).name)
    found = pretrained.load(folder)
    assert_same_files(folder, pretrained.save(tmp_path / "same", found))
    path = pretrained.save(tmp_path / "moved", moved(found))
    again = pretrained.load(path)
    for a, b in zip(
        jax.tree.leaves(again.params), jax.tree.leaves(moved(found).params), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert files.read_config(path)["dtype"] == "float32"


def test_a_new_head_names_its_architecture_and_labels(golden, tmp_path):
    base = pretrained.load(golden / "bert/bert_model", features="pooler")
    tuned = with_head(base)
    path = pretrained.save(tmp_path / "tuned", tuned, labels=["a", "b", "c", "d"])
    config = files.read_config(path)
    assert config["architectures"] == ["BertForSequenceClassification"]
    assert config["id2label"] == {"0": "a", "1": "b", "2": "c", "3": "d"}
    assert config["label2id"] == {"a": 0, "b": 1, "c": 2, "d": 3}
    names = set(arrays_of(path))
    assert {"classifier.weight", "bert.pooler.dense.weight", WORDS} <= names
    again = pretrained.load(path)
    for a, b in zip(
        jax.tree.leaves(again.params), jax.tree.leaves(tuned.params), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_a_head_of_another_size(golden, tmp_path):
    found = pretrained.load(golden / "bert/bert_sequence")
    path = pretrained.save(tmp_path / "five", with_head(found, 5))
    assert files.read_config(path)["id2label"]["4"] == "LABEL_4"
    assert pretrained.load(path).params["head"]["kernel"].shape == (16, 5)


def test_a_dropped_head_stays_away_and_an_unused_pooler_comes(edited, tmp_path):
    def pool(arrays):
        arrays["bert.pooler.dense.weight"] = np.ones((16, 16), np.float32)
        arrays["bert.pooler.dense.bias"] = np.ones(16, np.float32)
        arrays["bert.embeddings.position_ids"] = np.arange(24)[None]

    found = pretrained.load(edited("bert_words", pool), head="drop")
    path = pretrained.save(tmp_path / "body", found)
    assert files.read_config(path)["architectures"] == ["BertModel"]
    names = set(arrays_of(path))
    assert {"pooler.dense.weight", "embeddings.word_embeddings.weight"} <= names
    assert not any("cls." in name or "position_ids" in name for name in names)
    assert pretrained.load(path, features="pooler").params["pooler"]["bias"][0] == 1


def test_without_the_original_only_what_was_loaded_is_saved(edited, tmp_path, caplog):
    folder = edited("bert_model")
    found = pretrained.load(folder)
    (folder / files.WEIGHTS).unlink()
    path = pretrained.save(tmp_path / "saved", found)
    assert "gone" in caplog.text
    assert not any("pooler" in name for name in arrays_of(path))
    again = pretrained.load(path)
    assert tree.paths(again.params) == tree.paths(found.params)


def test_a_changed_original_is_not_mixed_in(edited, tmp_path, caplog):
    folder = edited("bert_model")
    found = pretrained.load(folder)
    files.write({"x": np.zeros(3, np.float32)}, folder / files.WEIGHTS)
    path = pretrained.save(tmp_path / "saved", found)
    assert "have changed" in caplog.text
    assert "embeddings.word_embeddings.weight" in arrays_of(path)


def test_the_tokenizer_and_pooling_go_along(edited, tmp_path):
    folder = edited("bert_model")
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n")
    (folder / "1_Pooling").mkdir()
    text = json.dumps({"pooling_mode_mean_tokens": True})
    (folder / "1_Pooling/config.json").write_text(text)
    found = pretrained.load(folder)
    path = pretrained.save(tmp_path / "one", found)
    for name in ("vocab.txt", "1_Pooling/config.json"):
        assert (path / name).read_bytes() == (folder / name).read_bytes()
    (folder / "vocab.txt").unlink()
    path = pretrained.save(tmp_path / "two", found)
    encoder = pretrained.load(path).tokenizer.encoder
    assert encoder.encode("a").ids == found.tokenizer.encoder.encode("a").ids


def test_patches_are_named_and_refused(tiny_bert, tmp_path):
    params = tree.put(tiny_bert.params, "blocks/1/mlp/patch", {"lora": None})
    with pytest.raises(ValueError, match=r"blocks/1/mlp/patch/lora.*fold"):
        pretrained.save(tmp_path / "x", tiny_bert._replace(params=params))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("features", ["mean", "cls"])
def test_a_head_that_transformers_computes_otherwise(features, golden, tmp_path):
    base = pretrained.load(golden / "bert/bert_model", features=features)
    with pytest.raises(ValueError, match=r"BertForSequenceClassification.*'pooler'"):
        pretrained.save(tmp_path / "x", with_head(base))


def test_a_tree_of_no_architecture(golden, tmp_path):
    base = pretrained.load(golden / "bert/roberta_words", head="drop", features="cls")
    with pytest.raises(pretrained.Misfit, match=r"classifier\.dense\.weight"):
        pretrained.save(tmp_path / "x", with_head(base))
    params = tree.drop(base.params, "blocks/1/norm_mlp") | {"extra": np.zeros(2)}
    with pytest.raises(pretrained.Misfit, match=r"(?s)missing \(2\).*extra"):
        pretrained.save(tmp_path / "x", base._replace(params=params))


def test_labels_must_fit(golden, tiny_bert, tmp_path):
    found = pretrained.load(golden / "bert/bert_sequence")
    with pytest.raises(ValueError, match="2 labels for a head of 3 classes"):
        pretrained.save(tmp_path / "x", found, labels=["a", "b"])
    with pytest.raises(ValueError, match="'a' twice"):
        pretrained.save(tmp_path / "x", found, labels=["a", "b", "a"])
    with pytest.raises(ValueError, match="no head over classes"):
        pretrained.save(tmp_path / "x", tiny_bert, labels=["a"])


def test_only_loaded_models_are_saved(tiny_bert, tmp_path):
    with pytest.raises(ValueError, match="no 'config'"):
        pretrained.save(tmp_path / "x", tiny_bert._replace(source={}))


def test_nothing_is_overwritten_unasked(tiny_bert, tmp_path):
    path = pretrained.save(tmp_path / "m", tiny_bert)
    before = (path / files.WEIGHTS).read_bytes()
    with pytest.raises(FileExistsError, match="overwrite=True"):
        pretrained.save(path, moved(tiny_bert))
    assert (path / files.WEIGHTS).read_bytes() == before
    pretrained.save(path, moved(tiny_bert), overwrite=True)
    assert (path / files.WEIGHTS).read_bytes() != before
    (path / "notes.md").write_text("mine")
    with pytest.raises(FileExistsError, match=r"notes\.md"):
        pretrained.save(path, tiny_bert, overwrite=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError, match="is a file"):
        pretrained.save(tmp_path / "file", tiny_bert, overwrite=True)


@pytest.mark.parametrize("broken", ["write", "swap"])
def test_a_failure_leaves_the_old_model(broken, tiny_bert, tmp_path, monkeypatch):
    path = pretrained.save(tmp_path / "m", tiny_bert)
    before = (path / files.WEIGHTS).read_bytes()

    def fail(*_):
        raise OSError("disk full")

    if broken == "write":
        monkeypatch.setattr("tl_jax.pretrained.saving.files.write", fail)
    else:
        import os

        from tl_jax.pretrained import saving

        real = os.replace

        def second(a, b):
            return fail() if str(a).endswith("new") else real(a, b)

        monkeypatch.setattr(saving.os, "replace", second)
    with pytest.raises(OSError, match="disk full"):
        pretrained.save(path, moved(tiny_bert), overwrite=True)
    assert (path / files.WEIGHTS).read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_a_model_may_replace_its_own_source(edited):
    folder = edited("bert_model")
    found = moved(pretrained.load(folder))
    pretrained.save(folder, found, overwrite=True)
    again = pretrained.load(folder)
    for a, b in zip(
        jax.tree.leaves(again.params), jax.tree.leaves(found.params), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert "pooler.dense.weight" in again.source["omitted"]
