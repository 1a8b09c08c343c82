"""The tokenizer of a folder, and what it says beside its tokens."""

import json

import pytest

from tl_jax import pretrained
from tl_jax.pretrained.tokenizer import load_tokenizer

VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "un",
    "##happ",
    "##y",
    "cafe",
]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    return tmp_path


def test_wordpiece_from_a_vocabulary(folder):
    found = load_tokenizer(folder, 24, 60)
    assert found.encoder.encode("Unhappy CAFÉ zzz").ids == [2, 5, 6, 7, 8, 1, 3]
    pair = found.encoder.encode("cafe", "cafe")
    assert pair.ids == [2, 8, 3, 8, 3]
    assert pair.type_ids == [0, 0, 0, 1, 1]
    assert found.encoder.encode("[MASK]").ids == [2, 4, 3]
    assert found[1:6] == (0, 2, 3, 4, 24)


def test_case_is_a_setting(folder):
    text = json.dumps({"do_lower_case": False, "model_max_length": 7})
    (folder / "tokenizer_config.json").write_text(text)
    found = load_tokenizer(folder, 24, 60)
    assert found.encoder.encode("Cafe cafe").ids == [2, 1, 8, 3]
    assert found.length == 7


def test_the_file_neither_cuts_nor_pads(folder):
    encoder = load_tokenizer(folder, 24, 60).encoder
    encoder.enable_truncation(4)
    encoder.enable_padding(length=4)
    encoder.save(str(folder / "tokenizer.json"))
    found = load_tokenizer(folder, 24, 60)
    assert found.encoder.encode("cafe").ids == [2, 8, 3]
    assert len(found.encoder.encode("cafe " * 9).ids) == 11
    assert json.loads(found.to_str())["truncation"] is None


def test_special_tokens_by_the_settings(folder):
    settings = {"pad_token": {"content": "un"}, "cls_token": "cafe"}
    (folder / "special_tokens_map.json").write_text(json.dumps(settings))
    found = load_tokenizer(folder, 24, 60)
    assert (found.pad, found.cls) == (5, 8)


def test_lengths_take_the_least(folder):
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 1e30}')
    assert load_tokenizer(folder, 24, 60).length == 24
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 12}')
    assert load_tokenizer(folder, 24, 60).length == 12


def test_no_tokenizer_is_none(tmp_path, tiny_bert):
    assert load_tokenizer(tmp_path, 24, 60) is None
    assert tiny_bert.tokenizer is None


def test_a_tokenizer_wider_than_the_model_warns(folder, caplog):
    load_tokenizer(folder, 24, 5)
    assert "has 9 tokens, the model 5" in caplog.text


@pytest.mark.parametrize(
    "name, text", [("tokenizer.json", '{"version"'), ("vocab.txt", "just\nwords\n")]
)
def test_damaged_files_are_named(name, text, folder):
    (folder / name).write_text(text)
    with pytest.raises(pretrained.Damaged, match=name.replace(".", r"\.")):
        load_tokenizer(folder, 24, 60)
