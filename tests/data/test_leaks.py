"""What leaks is found: each leak is put in, and the check that lets it pass fails."""

import jax
import numpy as np
import pytest
from chances import IMAGES, LABELS, SMALL

from tl_jax.data import (
    check_episodes,
    class_disjoint,
    class_splits,
    draws,
    episodes,
    rows_of_classes,
)

GROUPS = np.arange(30) % 12


def batch(**how):
    made = episodes({"image": IMAGES}, LABELS, **(SMALL | {"tasks": 20} | how))
    return jax.tree.map(np.array, made.at(0))


def reordered(stream, by):
    """The rows of every episode in the order of `by` [K B]."""
    at = np.argsort(by, axis=1, kind="stable")
    rest = {n: np.take_along_axis(stream[n], at, 1) for n in ("labels", "index")}
    return stream | rest


def test_sound_episodes_pass():
    check_episodes(batch(), LABELS)
    check_episodes(batch(groups=GROUPS, queries=1), LABELS, GROUPS)


def test_a_row_in_support_and_query_is_found():
    leaky = batch()
    k = np.arange(20)
    own = leaky["support"]["labels"][:, 0]
    at = (leaky["query"]["labels"] == own[:, None]).argmax(1)
    leaky["query"]["index"][k, at] = leaky["support"]["index"][:, 0]
    with pytest.raises(ValueError, match=r"episode 0: row \d+ is in support and"):
        check_episodes(leaky, LABELS)


def test_drawing_with_replacement_is_found(monkeypatch):
    def replaced(uniform, sizes):
        return (uniform * np.asarray(sizes)[..., None]).astype(int)

    monkeypatch.setattr(draws, "distinct", replaced)
    with pytest.raises(ValueError, match="twice|support and in query|two labels"):
        check_episodes(batch(), LABELS)


def test_a_group_in_support_and_query_is_found():
    with pytest.raises(ValueError, match=r"group \d+ is in support and in query"):
        check_episodes(batch(), LABELS, GROUPS)


def test_sets_in_the_order_of_labels_are_found():
    leaky = batch()
    leaky["query"] = reordered(leaky["query"], leaky["query"]["labels"])
    with pytest.raises(ValueError, match="query: rows come in the order of"):
        check_episodes(leaky, LABELS)


def test_one_order_of_labels_for_all_is_found():
    leaky = batch()
    fixed = np.tile([2, 0, 1, 0, 2, 1], (20, 1))
    by_label = reordered(leaky["query"], leaky["query"]["labels"])
    rank = np.argsort(np.argsort(fixed, 1, kind="stable"), 1)
    at = np.take_along_axis(by_label["index"], rank, 1)
    leaky["query"] |= {"labels": fixed, "index": at}
    with pytest.raises(ValueError, match="query: labels come in one order"):
        check_episodes(leaky, LABELS)


def test_classes_in_the_order_of_the_source_are_found():
    leaky = batch()
    for k in range(20):
        classes = np.unique(LABELS[leaky["support"]["index"][k]])
        for stream in leaky.values():
            true = LABELS[stream["index"][k]]
            stream["labels"][k] = np.searchsorted(classes, true)
    with pytest.raises(ValueError, match="labels follow the order of classes"):
        check_episodes(leaky, LABELS)


def test_wrong_labels_are_found():
    leaky = batch()
    leaky["query"]["labels"] = (leaky["query"]["labels"] + 1) % 3
    with pytest.raises(ValueError, match=r"a query of class \d has label \d, which is"):
        check_episodes(leaky, LABELS)
    with pytest.raises(ValueError, match="stands for classes"):
        check_episodes(batch(shots=2, queries=1), np.roll(LABELS, 1))


PARTS = {"train": 0.5, "validation": 0.25, "test": 0.25}


def test_splits_of_classes_share_none():
    for seed in range(5):
        splits = class_splits(LABELS, PARTS, seed)
        sides = [set(LABELS[rows]) for rows in splits.values()]
        assert sorted(c for side in sides for c in side) == list(range(6))
        assert sorted(np.concatenate(list(splits.values()))) == list(range(30))
        assert all(sides)
    again = class_splits(LABELS, PARTS, 4)
    assert all(np.array_equal(again[name], splits[name]) for name in PARTS)
    assert any(
        set(LABELS[class_splits(LABELS, PARTS, s)["test"]]) != sides[2]
        for s in range(4)
    )
    sizes = [len(side) for side in class_splits(np.arange(8), PARTS).values()]
    assert sizes == [4, 2, 2]
    family = np.array(["a", "b", "c", "a", "b", "c"])
    whole = class_splits(LABELS, PARTS, super_classes=family)
    assert [len(set(family[LABELS[rows]])) for rows in whole.values()] == [1, 1, 1]


def test_a_class_in_two_splits_is_found():
    splits = class_splits(LABELS, PARTS)
    leaky = splits | {"train": np.append(splits["train"], splits["test"][:1])}
    leaky["test"] = splits["test"][1:]
    names = [f"c{i}" for i in range(6)]
    moved = LABELS[splits["test"][0]]
    wanted = rf"class {moved} \(c{moved}\) is in 'train' and in 'test'"
    with pytest.raises(ValueError, match=wanted):
        class_disjoint(LABELS, leaky, classes=names)
    with pytest.raises(ValueError, match=r"row \d+ is in 'train' and in 'test'"):
        class_disjoint(
            LABELS, splits | {"train": splits["test"]} | {"test": splits["test"]}
        )
    assert class_disjoint(LABELS, splits) is splits


def test_a_group_in_two_splits_is_found():
    """An equal picture under two classes is a leak too."""
    splits = class_splits(LABELS, PARTS)
    pictures = np.arange(30)
    pictures[splits["test"][0]] = pictures[splits["train"][0]]
    for made in (class_disjoint(LABELS, splits), class_splits(LABELS, PARTS)):
        with pytest.raises(ValueError, match="group .* in 'train' and in 'test'"):
            class_disjoint(LABELS, made, groups=pictures)


def test_published_lists_are_checked():
    names = [f"c{i}" for i in range(6)]
    splits = rows_of_classes(LABELS, {"train": names[:4], "test": names[4:]}, names)
    assert set(LABELS[splits["test"]]) == {4, 5}
    with pytest.raises(ValueError, match="class 0 .* in 'train' and in 'test'|row 0"):
        rows_of_classes(LABELS, {"train": names[:4], "test": ["c0"]}, names)
    with pytest.raises(ValueError, match="test: 'c9' is no class; nearest: c"):
        rows_of_classes(LABELS, {"train": names[:4], "test": ["c9"]}, names)
    with pytest.raises(ValueError, match="6 classes do not make 7 parts"):
        class_splits(LABELS, {str(i): 1 / 7 for i in range(7)})
