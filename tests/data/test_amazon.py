"""Amazon reviews: files as published, and each way in which they can be wrong."""

import numpy as np
import pytest

from experiments.sources import from_source
from tl_jax import data
from tl_jax.tree import NoMatch

TRAIN = "-1 0:1 27:2 4999:1\n1 3:1.5\n"
TEST = "1 1:4 # a note\n\n-1\n+1 0:1\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "books_train.svmlight").write_text(TRAIN)
    (tmp_path / "books_test.svmlight").write_text(TEST)
    return tmp_path


def test_a_domain_is_its_two_files(folder):
    found = data.amazon(folder / "books")
    features, wanted = found.inputs["features"], np.zeros((5, 5000), np.float32)
    wanted[0, [0, 27, 4999]] = 1, 2, 1
    wanted[1, 3], wanted[2, 1], wanted[4, 0] = 1.5, 4, 1
    np.testing.assert_array_equal(features, wanted)
    assert features.dtype == np.float32
    assert found.labels.tolist() == [0, 1, 1, 0, 1]
    assert found.classes == ("negative", "positive")
    assert {k: v.tolist() for k, v in found.splits.items()} == {
        "train": [0, 1],
        "test": [2, 3, 4],
    }


def test_a_config_names_it_by_kind_and_folder(folder):
    found = from_source(f"amazon:{folder}/books", "config.data.source")
    assert found.name == "amazon books"
    with pytest.raises(NoMatch, match="nearest: .*amazon:"):
        from_source(f"amason:{folder}/books", "config.data.source")


@pytest.mark.parametrize(
    "line, message",
    [
        ("2 0:1", "label '2', expected -1 or 1"),
        ("1 0", "'0', expected `word:count`"),
        ("1 a:1", "'a:1', expected `word:count`"),
        ("1 0:x", "'0:x', expected `word:count`"),
        ("1 5000:1", r"word 5000, expected 0\.\.4999, counted from 0"),
        ("1 -1:1", r"word -1, expected 0\.\.4999$"),
        ("1 3:1 3:2", "word 3 after 3, expected them to rise"),
        ("1 3:nan", "'3:nan', expected a finite count"),
    ],
)
def test_a_wrong_line_is_named(folder, line, message):
    file = folder / "books_test.svmlight"
    file.write_text(f"1 0:1\n{line}\n")
    with pytest.raises(ValueError, match=rf"books_test.svmlight, line 2: {message}"):
        data.amazon(folder / "books")


def test_missing_and_empty_files_and_other_domains_are_named(folder):
    with pytest.raises(NoMatch, match="'bookz' matches nothing; nearest: books"):
        data.amazon(folder / "bookz")
    with pytest.raises(FileNotFoundError, match=r"dvd_train\.svmlight; .* reads"):
        data.amazon(folder / "dvd")
    (folder / "books_train.svmlight").write_text("\n# nothing\n")
    with pytest.raises(ValueError, match="there is no line in it"):
        data.amazon(folder / "books")
