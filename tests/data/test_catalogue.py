"""The catalogue against the files: counts as they were read from the pinned bytes.

VADER's README gives the same number of sentences a domain; all other counts are
our own reading, and kept here so that a change of it shows.
"""

import numpy as np
import pytest

from tl_jax.assets import Unavailable
from tl_jax.data.catalogue import catalogue, find, load
from tl_jax.data.sources import size, task
from tl_jax.data.splits import groups_of, stratified
from tl_jax.tree import NoMatch


def real(name):
    try:
        return load(name)
    except Unavailable as error:
        pytest.skip(f"offline: {error}")


@pytest.mark.parametrize("name", list(catalogue()))
def test_counts_task_and_classes(name):
    examples, entry = real(name), find(name)
    assert size(examples) == entry.examples
    assert len(examples.classes) == entry.classes
    assert task(examples) == entry.task
    assert examples.name == name
    assert examples.licence == entry.licence


def test_bbc_has_one_odd_file_and_duplicates_that_do_not_straddle():
    bbc = real("bbc")
    assert bbc.classes == ("business", "entertainment", "politics", "sports", "tech")
    assert np.bincount(bbc.labels).tolist() == [510, 386, 417, 511, 401]
    assert bbc.notes == ("1 of 2225 files read as cp1252",)
    texts, groups = bbc.inputs["text"], groups_of(bbc.inputs["text"])
    assert len(set(texts)) < len(texts)
    split = stratified(bbc.labels, {"train": 0.8, "test": 0.2}, groups=groups)
    train, test = ({texts[i] for i in split[name]} for name in ("train", "test"))
    assert not train & test
    assert sum(map(len, split.values())) == 2225


def test_vader_scores_and_signs():
    total = 0
    for domain in ("tweets", "film", "amazon", "nyt"):
        scores, signs = real(f"vader-score/{domain}"), real(f"vader/{domain}")
        total += size(scores)
        assert np.abs(scores.labels).max() <= 4
        clear = np.abs(scores.labels) > 0.5
        np.testing.assert_array_equal(signs.labels, scores.labels[clear] > 0)
        assert signs.classes == ("negative", "positive")
    assert total == 23_703


def test_newsgroups_keep_their_official_splits():
    news = real("newsgroups")
    sizes = {name: len(rows) for name, rows in news.splits.items()}
    assert sizes == {"train": 11_293, "test": 7_528}


def test_digits_are_scaled():
    digits = load("digits")
    assert digits.inputs["image"].shape == (1797, 8, 8, 1)
    assert digits.inputs["features"].shape == (1797, 64)
    assert digits.inputs["features"].max() == 1.0


def test_unknown_names_get_the_nearest():
    with pytest.raises(NoMatch, match="vader/film"):
        load("vader/flim")
