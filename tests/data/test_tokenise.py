"""Tokens: truncation, pairs, labels of words and spans, the cache on disk."""

import importlib

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from tl_jax.data.tokenise import (
    align,
    open_tokenizer,
    read,
    token_span,
    tokenise,
    tokenise_spans,
    tokenise_words,
)

MODULE = importlib.import_module("tl_jax.data.tokenise")
"""The package exports a function of the same name."""
PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "a",
    "b",
    "c",
    "d",
    "un",
    "##like",
    "##ly",
]
IDS = {piece: i for i, piece in enumerate(PIECES)}


@pytest.fixture
def tokenizer():
    made = Tokenizer(models.WordPiece(IDS, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    made.enable_padding(pad_id=0, pad_token="[PAD]", length=20)
    made.enable_truncation(3)
    return made


def rows_of(column):
    ends = zip(column.offsets[:-1], column.offsets[1:], strict=True)
    return [column.flat[a:b].tolist() for a, b in ends]


def test_texts_are_cut_and_not_padded(tokenizer):
    tokens = tokenise(tokenizer, ["a b", "unlikely a b c", ""], length=5)
    assert rows_of(tokens.columns["tokens"]) == [[2, 4, 5, 3], [2, 8, 9, 10, 3], [2, 3]]
    np.testing.assert_array_equal(tokens.lengths, [4, 5, 2])
    assert tokens.cut == 1
    assert tokenizer.truncation["max_length"] == 3  # the caller's own is as it was


def test_pairs_have_types(tokenizer):
    tokens = tokenise(tokenizer, ["a"], ["b c"])
    assert rows_of(tokens.columns["tokens"]) == [[2, 4, 3, 5, 6, 3]]
    assert rows_of(tokens.columns["types"]) == [[0, 0, 0, 1, 1, 1]]


def test_the_padding_id_travels_from_the_file(tokenizer, tmp_path):
    tokenizer.enable_padding(pad_id=7, pad_token="d")
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    tokens = tokenise(tmp_path / "tokenizer.json", ["a"])
    assert tokens.columns["tokens"].fill == 7
    tokenizer.no_padding()
    assert open_tokenizer(tokenizer)[1] == IDS["[PAD]"]


def test_a_label_stands_on_the_first_piece(tokenizer):
    words = [["a", "unlikely", "b"], ["c"]]
    tokens = tokenise_words(tokenizer, words, [[1, 2, 0], [5]])
    expected = [[-100, 1, 2, -100, -100, 0, -100], [-100, 5, -100]]
    assert rows_of(tokens.labels) == expected
    assert tokens.labels.fill == -100
    assert tokens.cut == 0
    short = tokenise_words(tokenizer, words, [[1, 2, 0], [5]], length=5)
    assert rows_of(short.labels) == [[-100, 1, 2, -100, -100], [-100, 5, -100]]
    assert short.cut == 1
    assert align([None, 0, 0, 1, None], [7, 8]) == [-100, 7, -100, 8, -100]
    with pytest.raises(ValueError, match="row 1: 1 words, 2 labels"):
        tokenise_words(tokenizer, words, [[1, 2, 0], [5, 5]])


def test_spans_of_characters_become_spans_of_tokens(tokenizer):
    context = "b unlikely c"
    tokens = tokenise_spans(tokenizer, ["a"], [context], [[2, 10]], length=16)
    assert rows_of(tokens.columns["tokens"]) == [[2, 4, 3, 5, 8, 9, 10, 6, 3]]
    np.testing.assert_array_equal(tokens.labels, [[4, 6]])
    (start, _), (_, end) = (tokens.places.flat[i] for i in (4, 6))
    assert context[start:end] == "unlikely"
    assert tokens.places.flat[1].tolist() == [-1, -1]  # the question's


def test_answers_cut_away_are_counted(tokenizer):
    context = "a b c d a b c d"
    spans = [[0, 1], [14, 15]]
    tokens = tokenise_spans(tokenizer, ["a"] * 2, [context] * 2, spans, length=8)
    np.testing.assert_array_equal(tokens.labels, [[3, 3], [0, 0]])
    assert tokens.cut == 1
    np.testing.assert_array_equal(tokens.source, [0, 1])


def test_windows_cover_a_long_context(tokenizer):
    context = "a b c d a b c d"
    tokens = tokenise_spans(tokenizer, ["a"], [context], [[14, 15]], length=8, stride=1)
    assert tokens.source.tolist() == [0] * len(tokens.lengths)
    assert tokens.cut == 0
    found = [row for row in tokens.labels.tolist() if row != [0, 0]]
    assert len(found) == 1
    covered = {tuple(place) for place in tokens.places.flat.tolist() if place[0] >= 0}
    assert covered == {(i, i + 1) for i in range(0, 15, 2)}


def test_a_span_must_lie_in_its_window_whole():
    places = [(-1, -1), (0, 2), (2, 4), (5, 8), (-1, -1)]
    assert token_span(places, 0, 4) == (1, 2)
    assert token_span(places, 3, 6) == (2, 3)
    assert token_span(places, 5, 9) == (0, 0)
    assert token_span(places[2:], 0, 4) == (0, 0)


def test_a_question_that_fills_the_row_is_named(tokenizer):
    with pytest.raises(ValueError, match="row 1: the question 'a a a"):
        tokenise_spans(tokenizer, ["a", "a " * 9], ["b", "b"], length=8)


def test_bad_texts_are_named(tokenizer, tmp_path):
    with pytest.raises(ValueError, match="nothing to tokenise"):
        tokenise(tokenizer, [])
    with pytest.raises(ValueError, match="row 1 is float"):
        tokenise(tokenizer, ["a", 0.5])
    with pytest.raises(ValueError, match="pairs: 1 rows, expected 2"):
        tokenise(tokenizer, ["a", "b"], ["c"])
    with pytest.raises(FileNotFoundError, match=r"no\.json"):
        tokenise(tmp_path / "no.json", ["a"])
    with pytest.raises(TypeError, match="found int"):
        tokenise(3, ["a"])


def same(a, b):
    assert a.columns.keys() == b.columns.keys()
    for name in a.columns:
        assert rows_of(a.columns[name]) == rows_of(b.columns[name])
        assert a.columns[name].fill == b.columns[name].fill
    assert a.cut == b.cut


def test_the_cache_gives_the_same_and_follows_the_content(
    tokenizer, tmp_path, monkeypatch
):
    made = tokenise_spans(tokenizer, ["a"], ["b c"], [[2, 3]], cache=tmp_path)
    writes = []
    monkeypatch.setattr(MODULE, "write", lambda *_: writes.append(1))
    again = tokenise_spans(tokenizer, ["a"], ["b c"], [[2, 3]], cache=tmp_path)
    same(made, again)
    np.testing.assert_array_equal(made.labels, again.labels)
    np.testing.assert_array_equal(made.source, again.source)
    assert writes == []
    for change in ({"length": 9}, {"stride": 2}):
        tokenise_spans(tokenizer, ["a"], ["b c"], [[2, 3]], cache=tmp_path, **change)
    tokenise_spans(tokenizer, ["a"], ["b d"], [[2, 3]], cache=tmp_path)
    tokenizer.normalizer = normalizers.NFC()
    tokenise_spans(tokenizer, ["a"], ["b c"], [[2, 3]], cache=tmp_path)
    assert len(writes) == 4


def test_a_damaged_cache_file_is_made_again(tokenizer, tmp_path):
    made = tokenise_words(tokenizer, [["a"]], [[1]], cache=tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    for data in (b"", whole[: len(whole) // 2], b"text"):
        file.write_bytes(data)
        same(tokenise_words(tokenizer, [["a"]], [[1]], cache=tmp_path), made)
        assert rows_of(read(file).labels) == [[-100, 1, -100]]
    assert list(tmp_path.iterdir()) == [file]
