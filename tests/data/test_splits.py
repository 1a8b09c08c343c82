"""Splits: deterministic, disjoint, stratified; equal texts on one side."""

import numpy as np
import pytest

from tl_jax.data.splits import by_text, disjoint, few, groups_of, stratified

THIRDS = {"train": 0.6, "validation": 0.2, "test": 0.2}
LABELS = np.repeat([0, 1, 2], [50, 30, 20])


def covers(splits, rows):
    found = np.sort(np.concatenate(list(splits.values())))
    np.testing.assert_array_equal(found, rows)


def test_stratified_keeps_the_proportions_of_each_class():
    splits = stratified(LABELS, THIRDS, seed=3)
    covers(splits, np.arange(100))
    for label, total in enumerate((50, 30, 20)):
        sizes = [int((LABELS[rows] == label).sum()) for rows in splits.values()]
        assert sizes == [total * 3 // 5, total // 5, total // 5]


def test_splits_follow_their_seed():
    first, again = stratified(LABELS, THIRDS, 1), stratified(LABELS, THIRDS, 1)
    other = stratified(LABELS, THIRDS, 2)
    np.testing.assert_array_equal(first["test"], again["test"])
    assert not np.array_equal(first["test"], other["test"])


def test_equal_texts_never_straddle():
    texts = [f"text {i % 40}" + " " * (i % 3) for i in range(100)]
    labels = np.asarray([i % 40 % 2 for i in range(100)])
    groups = groups_of(texts)
    assert len(np.unique(groups)) == 40
    parts = few(labels, 3, 3, groups=groups)
    splits = (stratified(labels, THIRDS, groups=groups), by_text(texts, THIRDS), parts)
    for split in splits:
        sides = [{texts[i].strip() for i in rows} for rows in split.values()]
        for i, side in enumerate(sides):
            assert not any(side & other for other in sides[i + 1 :])
    covers(splits[0], np.arange(100))
    assert len(set(groups[parts["train"]])) == 6


def test_hash_splits_do_not_depend_on_the_rest():
    texts = [f"document {i}" for i in range(400)]
    whole = by_text(texts, THIRDS, seed=5)
    part = by_text(texts[100:], THIRDS, seed=5)
    covers(whole, np.arange(400))
    for name, rows in part.items():
        assert set(rows + 100) <= set(whole[name])
    assert [len(rows) > 50 for rows in whole.values()] == [True] * 3


def test_every_part_gets_something_of_a_small_class():
    labels = np.repeat([0, 1], [100, 3])
    splits = stratified(labels, {"train": 0.98, "validation": 0.01, "test": 0.01})
    assert [int((labels[r] == 1).sum()) for r in splits.values()] == [1, 1, 1]


def test_few_labels_stay_within_their_rows():
    rows = np.arange(0, 100, 2)
    splits = few(LABELS, 4, 2, seed=1, rows=rows)
    for name, k in (("train", 4), ("validation", 2)):
        assert set(splits[name]) <= set(rows)
        np.testing.assert_array_equal(np.bincount(LABELS[splits[name]]), [k] * 3)
    assert not set(splits["train"]) & set(splits["validation"])
    assert len(few(LABELS, 4, 0)["validation"]) == 0


def test_a_small_class_is_named():
    names = ("politics", "sports", "tech")
    with pytest.raises(ValueError, match=r"class 2 \(tech\) has 20 .* 21 are"):
        few(LABELS, 16, 5, classes=names)
    with pytest.raises(ValueError, match=r"class 1 \(sports\) has 1 "):
        stratified(
            np.array([0, 0, 0, 1, 1]), THIRDS, groups=[0, 1, 2, 3, 3], classes=names
        )


def test_bad_requests_are_named():
    with pytest.raises(ValueError, match="sum to 1"):
        by_text(["a"], {"train": 0.5})
    with pytest.raises(ValueError, match="class ids"):
        stratified(np.zeros(3), THIRDS)
    with pytest.raises(ValueError, match="2 groups for 3 rows"):
        stratified(np.zeros(3, int), THIRDS, groups=[0, 1])
    with pytest.raises(ValueError, match="row 1 is in 'a' and in 'b'"):
        disjoint({"a": np.array([0, 1]), "b": np.array([1])}, 2)
