"""Row scores by hand, ratios, and comparisons that must not be made."""

import numpy as np
import pytest

from experiments.paired import PREDICTIONS, ROW_SCORES, compare, ratio


def run(root, name, predictions, labels=(0, 1, 2, 1), index=None, **more):
    folder = root / name / "0"
    folder.mkdir(parents=True)
    index = np.arange(len(labels)) if index is None else np.asarray(index)
    arrays = {"index": index, "labels": labels, "predictions": predictions} | more
    np.savez(folder / PREDICTIONS, **arrays)
    return folder


@pytest.mark.parametrize(
    "task, labels, predictions, expected",
    [
        ("classification", [0, 1, 2], [0, 2, 2], [1, 0, 1]),
        ("multilabel", [[0, 1], [1, 1]], [[0, 0], [1, 1]], [0.5, 1]),
        ("tokens", [[1, 2, -100], [-100] * 3], [[1, 0, 7], [3, 3, 3]], [0.5, 1]),
        ("span", [[1, 2], [3, 4]], [[1, 2], [3, 5]], [1, 0]),
        ("regression", [1.0, 2.0], [1.5, 2.0], [-0.25, 0]),
    ],
)
def test_row_scores(task, labels, predictions, expected):
    found = ROW_SCORES[task].score(np.asarray(labels), np.asarray(predictions))
    np.testing.assert_allclose(found, expected)


def test_rows_are_matched_by_index_not_by_place(tmp_path):
    ours = run(tmp_path, "a", [1, 2, 1, 0], [1, 2, 1, 0], index=[3, 2, 1, 0])
    theirs = run(tmp_path, "b", [0, 0, 2, 0])  # two of four right
    verdict = compare("classification", [(ours, theirs)]).verdict
    assert verdict.difference == pytest.approx(0.5)
    assert verdict.p == pytest.approx(0.5)  # 2 of 4 sign patterns
    assert verdict.verdict == "no difference"


@pytest.mark.parametrize(
    "change, why",
    [
        ({"index": [0, 1, 2, 9]}, "not the same test rows"),
        ({"labels": [0, 1, 2, 2]}, "labels of the same rows differ"),
        ({"index": [0, 1, 1, 2]}, "names a row twice"),
        ({"predictions": [0, 1]}, "shapes of index"),
        ({"labels": np.array([{}] * 4)}, "can't be read"),
    ],
)
def test_what_can_not_be_compared_says_why(tmp_path, change, why):
    theirs = run(tmp_path, "b", [0, 1, 2, 1])
    ours = run(tmp_path, "a", **({"predictions": [0, 1, 2, 1]} | change))
    found = compare("classification", [(ours, theirs)])
    assert found.verdict is None
    assert why in found.why


def test_seeds_of_other_rows_are_not_averaged(tmp_path):
    pairs = []
    for seed, index in (("x", [0, 1, 2, 3]), ("y", [0, 1, 2, 4])):
        root = tmp_path / seed
        pair = [run(root, name, [0, 1, 2, 1], index=index) for name in "ab"]
        pairs.append(tuple(pair))
    assert compare("classification", pairs[:1]).verdict.p == 1
    assert "not of the same test rows" in compare("classification", pairs).why


def test_missing_predictions_and_unknown_tasks(tmp_path):
    theirs = run(tmp_path, "b", [0, 1, 2, 1])
    empty = tmp_path / "a" / "0"
    assert compare("classification", [(empty, theirs)]).why == "a/0 has no predictions"
    assert "'chess'" in compare("chess", [(theirs, theirs)]).why


def test_ratio_above_one_always_helps():
    assert ratio([0.9, 0.7], [0.4, 0.4]) == pytest.approx(2)
    assert ratio([0.2], [0.4], higher=False) == pytest.approx(2)
    assert ratio([0.2], [0.0]) is None
    assert ratio([np.nan], [0.5]) is None
